"""The commands that use a model, as a user types them."""

import gzip
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from cofi_dist.cli.evaluation_table import print_evaluation
from cofi_dist.model import Evaluation
from cofi_dist.model.evaluate import SMALL_BATCH_USERS
from tests.support.commands import CONFIG, TORCHRUN, cofi, fine


def test_evaluate_prints_a_table_and_writes_it(home: Path, tmp_path: Path) -> None:
    done = cofi("evaluate", "runs/c", "-k", 5, "--output", tmp_path / "e.json", cwd=home)
    out = fine(done)
    found = json.loads((tmp_path / "e.json").read_text())
    assert f"{found['ratings']} ratings by {found['users']} users: the test part of runs/c" in out
    low, high = found["intervals"]["rmse"]
    assert low < found["rmse"] < high
    interval = f"  ({low:.4f} to {high:.4f})"
    assert f"RMSE {found['rmse']:19.4f}{interval:22}{found['rmse_by_user']:10.4f}  (" in out
    assert f"NDCG {found['ranking']['ndcg']:19.4f}  (" in out
    assert f"Gini {found['ranking']['gini']:19.4f} " in out
    assert max(map(len, out.splitlines())) <= 80
    assert "at k = 5; 0 have no item to find" in out
    assert done.stderr == ""


def test_evaluate_finds_the_figure_of_a_validated_sample(tmp_path: Path) -> None:
    config = CONFIG.replace("ratings: r.csv", "synthetic: {num_users: 90, num_items: 50, num_ratings: 900}")
    (tmp_path / "c.yaml").write_text(config)
    keys = ["data.validation={}", "validation={every: 10, metric: map, k: 5, users: 30}"]
    fine(cofi("train", "--config", "c.yaml", *keys, cwd=tmp_path))
    args = ["--part", "validation", "-k", 5, "--users", 30, "--output", "e.json"]
    out = fine(cofi("evaluate", "runs/c", *args, cwd=tmp_path))
    assert "  of a sample of about 30 users, always the same ones\n" in out
    trained, judged = (json.loads((tmp_path / name).read_text()) for name in ("runs/c/result.json", "e.json"))
    assert trained["validation_map"] == pytest.approx(judged["ranking"]["map"], rel=1e-12)


def test_evaluate_on_three_ranks_is_evaluate_on_one(tmp_path: Path) -> None:
    many = "synthetic: {num_users: 900, num_items: 50, num_ratings: 9000}"
    assert 3 * SMALL_BATCH_USERS < 900, "so that every rank has a block"
    (tmp_path / "c.yaml").write_text(CONFIG.replace("ratings: r.csv", many))
    assert cofi("train", "--config", "c.yaml", cwd=tmp_path).returncode == 0
    files = [tmp_path / "1.json", tmp_path / "3.json"]
    args = ["evaluate", "runs/c", "--relevant", 3, "--output"]
    one = cofi(*args, files[0], cwd=tmp_path)
    three = cofi(*args, files[1], cwd=tmp_path, launcher=TORCHRUN)
    assert three.returncode == 0, three.stderr
    assert three.stdout == fine(one)
    a, b = (json.loads(file.read_text()) for file in files)
    assert a == b, "to the last bit"


def test_evaluate_on_a_file_counts_what_is_unknown(home: Path) -> None:
    text = "userId,movieId,rating\n1,1000,3\n99,1000,3\n1,7,3\n"
    (home / "new.csv").write_text(text)
    out = fine(cofi("evaluate", "runs/c", "--ratings", "new.csv", cwd=home))
    assert "3 ratings by 2 users: new.csv" in out
    assert "2 of them have a user or an item without training ratings; predicted:" in out
    assert "1 user: the item's mean + the average user's bias" in out
    assert "1 item: the global mean + the user's bias" in out


def test_what_unknown_users_and_items_of_events_score_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    found = Evaluation(
        ratings=9,
        users=4,
        rmse=None,
        mae=None,
        rmse_by_user=None,
        mae_by_user=None,
        unseen_users=0,
        unseen_items=2,
        unseen_ratings=3,
        ratings_seen_in_training=0,
        sample=None,
        intervals={},
        ranking=None,
    )
    print_evaluation(found, "new.csv", ("0", "0"), is_implicit=True)
    assert capsys.readouterr().out.splitlines() == [
        "9 events by 4 users: new.csv",
        "  3 of them have a user or an item without training events:",
        "    2 items: score 0",
        "  and not ranked where the model does not know the id at all",
    ]


def test_a_model_alone_gives_errors_and_no_ranking(home: Path, tmp_path: Path) -> None:
    (tmp_path / "m").symlink_to(home / "runs" / "c" / "model")
    done = cofi("evaluate", tmp_path / "m", "--ratings", "r.csv", cwd=home)
    assert "RMSE" in fine(done)
    assert "Ranking" not in done.stdout
    assert done.stderr.startswith("no ranking, as lists must leave out what was trained on: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predict_writes_each_pair(suffix: str, home: Path, tmp_path: Path) -> None:
    output = tmp_path / f"p{suffix}"
    done = cofi("predict", "runs/c", "--pairs", "pairs.csv", "--output", output, cwd=home)
    assert fine(done) == ""
    assert "2 of 5 pairs are of 1 user without training ratings: predicted the item's mean" in done.stderr
    assert "2 of 5 pairs are of 1 item without training ratings: predicted the global mean" in done.stderr
    table = pl.read_csv(output) if suffix == ".csv" else pl.read_parquet(output)
    assert table.columns == ["userId", "movieId", "prediction"]
    assert table["userId"].to_list() == [1, 2, 99, 1, 99]
    assert table["prediction"].is_between(0.5, 5.0).all()


def test_recommend_leaves_out_what_the_user_has_rated(home: Path) -> None:
    out = fine(cofi("recommend", "runs/c", "--user", 1, "-k", 40, "--titles", "movies.csv", cwd=home))
    ratings = pl.read_csv(home / "r.csv")
    rated = set(ratings.filter(pl.col("userId") == 1)["movieId"])
    items = [int(line.split()[2]) for line in out.splitlines()[1:]]
    seen_anywhere = set(ratings["movieId"])
    assert set(items) == seen_anywhere - rated
    assert out.splitlines()[0].split() == ["rank", "predicted", "movieId", "title"]
    assert f"Film, the {items[0]}" in out.splitlines()[1] or items[0] == 1039


def test_recommend_to_a_new_user_by_their_ratings(home: Path) -> None:
    done = cofi("recommend", "runs/c", "--ratings", "mine.csv", "-k", 3, cwd=home)
    lines = fine(done).splitlines()
    assert len(lines) == 4
    assert not {"1000", "1001"} & {line.split()[2] for line in lines[1:]}
    assert done.stderr == "mine.csv: 1 of 3 ratings is of unknown items; not used\n"
    with gzip.open(home / "mine.csv.gz", "wt") as file:
        file.write((home / "mine.csv").read_text())
    zipped = cofi("recommend", "runs/c", "--ratings", "mine.csv.gz", "-k", 3, cwd=home)
    assert fine(zipped) == done.stdout
    (home / "one.csv").write_text("userId,movieId,rating\n5,1000,5\n5,1001,0.5\n")
    assert fine(cofi("recommend", "runs/c", "--ratings", "one.csv", "-k", 3, cwd=home)) == done.stdout


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_recommend_to_all(suffix: str, home: Path, tmp_path: Path) -> None:
    output = tmp_path / f"all{suffix}"
    fine(cofi("recommend", "runs/c", "--all", "-k", 3, "--output", output, cwd=home))
    table = pl.read_csv(output) if suffix == ".csv" else pl.read_parquet(output)
    assert table.columns == ["userId", "rank", "movieId", "prediction", "score"]
    ratings = pl.read_csv(home / "r.csv")
    assert table["userId"].n_unique() == ratings["userId"].n_unique()
    assert table.join(ratings, on=["userId", "movieId"]).is_empty()


def test_prepared_ratings_pass_their_columns_on(home: Path, tmp_path: Path) -> None:
    (home / "new.csv").write_text("what,stars\n1000,5\n1001,0.5\n")
    (home / "both.csv").write_text("who,what\n1,1000\n")
    assert "what" in fine(cofi("recommend", "runs/named", "--ratings", "new.csv", cwd=home))
    assert "RMSE" in fine(cofi("evaluate", "runs/named", "--ratings", "named.csv", cwd=home))
    fine(cofi("predict", "runs/named", "--pairs", "both.csv", "--output", tmp_path / "p.csv", cwd=home))
    assert pl.read_csv(tmp_path / "p.csv").columns == ["who", "what", "prediction"]


def test_ratings_prepared_anew_are_not_evaluated_on(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "ready", tmp_path / "ready")
    for name in ("named.csv", "named.yaml"):
        shutil.copy(home / name, tmp_path)
    assert cofi("train", "--config", "named.yaml", cwd=tmp_path).returncode == 0
    elsewhere = tmp_path / "else"
    elsewhere.mkdir()
    fine(cofi("evaluate", "../runs/named", cwd=elsewhere))
    shutil.rmtree(tmp_path / "ready")
    columns = "data.columns={user: who, item: what, rating: stars}"
    again = ["prepare", "named.csv", "--output", "ready", "data.test={seed: 1}", columns]
    assert cofi(*again, cwd=tmp_path).returncode == 0
    done = cofi("evaluate", "runs/named", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    says = f"cofi-dist: {tmp_path / 'ready'}: holds other ratings, or other splits of them, than the model"
    assert done.stderr.startswith(says)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ["movies.dat", "u.item"])
def test_titles_as_the_older_sets_have_them(name: str, home: Path) -> None:
    separator = "::" if name == "movies.dat" else "|"
    lines = [separator.join([str(item), f"Filmé {item}", "Drama"]) for item in range(1000, 1040)]
    (home / name).write_bytes("\n".join(lines).encode("latin-1"))
    out = fine(cofi("recommend", "runs/c", "--user", 1, "-k", 3, "--titles", name, cwd=home))
    for line in out.splitlines()[1:]:
        rank, _, item, title = line.split(maxsplit=3)
        assert title == f"Filmé {item}", rank


def test_similar_items(home: Path) -> None:
    out = fine(cofi("similar", "runs/c", "--item", 1005, "-k", 3, "--titles", "movies.csv", cwd=home))
    assert len(out.splitlines()) == 4
    assert "1005" not in [line.split()[2] for line in out.splitlines()[1:]]


@pytest.mark.parametrize("form", ["parquet", "index"])
def test_export(form: str, home: Path, tmp_path: Path) -> None:
    if form == "index":
        pytest.importorskip("usearch")
    out = fine(cofi("export", "runs/c", "--format", form, "--output", "x", cwd=home))
    assert all((home / line).is_file() for line in out.splitlines())
    again = cofi("export", "runs/c", "--format", form, "--output", "x", cwd=home)
    assert again.returncode == 2
    assert "already exists" in again.stderr
