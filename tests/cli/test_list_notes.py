"""recommend, similar and predict say what is odd about their lists and figures."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from cofi_dist.cli.predict import predict
from cofi_dist.cli.similar import similar
from cofi_dist.errors import DataError, RunError
from tests.support.commands import recommend
from tests.support.models import made_up, trained

SETTINGS = "model: {num_features: 2}\ntrain: {epochs: 30, log_every: 30, lr: 0.05}\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """User 1 has rated all three items, user 2 two of them, user 3 one; item 30 has one rating."""
    rows = ["userId,movieId,rating", "1,10,5", "1,20,3", "1,30,4", "2,10,2", "2,20,1", "3,10,1"]
    (tmp_path / "r.csv").write_text("\n".join(rows) + "\n")
    trained(tmp_path, f"data: {{ratings: {tmp_path / 'r.csv'}}}\n{SETTINGS}")
    return tmp_path / "run"


def test_an_empty_list_says_why(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    recommend(run, user="1", k=3)
    said = capsys.readouterr()
    assert said.out.split() == ["rank", "predicted", "movieId"]
    assert said.err == "nothing to list: the model has 3 items, and user 1 has rated all of them\n"
    recommend(run, user="2", k=3, min_ratings=9)
    said = capsys.readouterr()
    assert said.err == (
        "nothing to list: the model has no item with 9 training ratings or more; lower --min-ratings\n"
    )


def test_a_short_list_says_why(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    recommend(run, user="3", k=3)
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert said.err == "2 of 3: the model has 3 items, and user 3 has rated the others\n"
    (run.parent / "mine.csv").write_text("movieId,rating\n10,4\n")
    recommend(run, ratings=run.parent / "mine.csv", k=3)
    assert capsys.readouterr().err == "2 of 3: the model has 3 items, and this user has rated the others\n"
    similar(run, user="3", k=5)
    said = capsys.readouterr()
    assert said.out.splitlines()[0].split() == ["rank", "cosine", "userId"]
    places = len(said.out.splitlines()) - 1
    assert said.err == f"{places} of 5: the model has no more other users with 1 training rating or more\n"
    similar(run, item="10", k=5)
    assert capsys.readouterr().err == "2 of 5: the model has 2 other items with 1 training rating or more\n"


def test_how_many_users_get_short_and_empty_lists_is_said(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    output = run.parent / "all.csv"
    recommend(run, everyone=True, k=2, output=output)
    assert len(output.read_text().splitlines()) == 1 + 0 + 1 + 2
    assert capsys.readouterr().err.splitlines() == [
        f"the 2 best items of 3 users written to {output}",
        "2 of 3 users get fewer than 2 items, 1 of them none: the model has 3 items, less those that a user"
        " has rated",
    ]


def test_lists_of_items_that_few_rated_lead_to_min_ratings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    often = [f"{j},{i},{1 + (i * j) % 3}" for j in range(1, 9) for i in range(10)]
    rarely = [f"{j},{100 + j},5" for j in range(1, 9)]
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating", *often, *rarely, "99,500,3"]) + "\n")
    trained(tmp_path, f"data: {{ratings: {tmp_path / 'r.csv'}}}\n{SETTINGS}")
    capsys.readouterr()
    recommend(tmp_path / "run", user="99", k=8)
    said = capsys.readouterr()
    assert said.out.splitlines()[1].split()[-1] in {str(item) for item in range(101, 109)}, "rarely rated"
    assert said.err == (
        "8 of 8 places go to items with at most 2 training ratings; --min-ratings 3, or more, leaves such"
        " items out, and a model trained with data.centre=damped_item_mean ranks them lower\n"
    )
    recommend(tmp_path / "run", user="99", k=8, min_ratings=3)
    said = capsys.readouterr()
    assert {int(line.split()[-1]) for line in said.out.splitlines()[1:]} <= set(range(10))
    assert said.err == ""


def test_scores_stand_beside_predictions_that_were_clipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = made_up(tmp_path)
    model.save(tmp_path / "clips")
    replace(model, facts=replace(model.facts, lowest=-50.0, highest=50.0)).save(tmp_path / "clips_nothing")
    recommend(tmp_path / "clips", user="u0000", k=3)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["rank", "predicted", "score", "movieId"]
    scores = [float(line.split()[2]) for line in lines]
    assert {line.split()[1] for line in lines} == {"5.00"}
    assert scores == sorted(scores, reverse=True)
    recommend(tmp_path / "clips_nothing", user="u0000", k=3)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["rank", "predicted", "movieId"]
    assert [float(line.split()[1]) for line in lines] == scores


EVENTS = "data.feedback=implicit"
SCORES = "scores say in which order items suit a user; they are not ratings, and not clipped"


def test_a_model_of_events_lists_scores_and_says_what_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = made_up(tmp_path, 12, 30, EVENTS)
    model.save(tmp_path / "m")
    recommend(tmp_path / "m", user="u0000", k=3)
    said = capsys.readouterr()
    header, *lines = said.out.splitlines()
    assert header.split() == ["rank", "score", "movieId"]
    want = [f"{score:.3f}" for score in model.recommend("u0000", 3)["score"]]
    assert [line.split()[1] for line in lines] == want
    first, second = said.err.splitlines()
    assert first.startswith("items that a user has events of are not left out: ")
    assert second == SCORES
    output = tmp_path / "all.csv"
    recommend(tmp_path / "m", everyone=True, k=2, output=output)
    assert output.read_text().splitlines()[0] == "userId,rank,movieId,score"
    assert capsys.readouterr().err.splitlines()[-1] == SCORES


@pytest.mark.parametrize("item_bias", [False, True])
def test_it_is_said_what_the_list_of_a_user_without_events_is(
    item_bias: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = made_up(tmp_path, 12, 30, EVENTS, item_bias=item_bias)
    model.user_counts[3] = 0
    model.save(tmp_path / "m")
    what = "the average user's list"
    if not item_bias:
        what = (
            "a list in the order of the ids, as all items score the same; a model trained with"
            " model.item_bias=true lists popular items"
        )
    recommend(tmp_path / "m", user="u0003", k=3)
    assert f"user u0003 has no training events: this is {what}" in capsys.readouterr().err.splitlines()
    recommend(tmp_path / "m", everyone=True, k=2, output=tmp_path / "all.csv")
    assert f"1 of 12 users has no training events, so {what}" in capsys.readouterr().err.splitlines()


def test_a_new_user_of_a_model_of_events_gives_items_and_no_ratings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = made_up(tmp_path, 12, 30, EVENTS)
    model.save(tmp_path / "m")
    mine = tmp_path / "mine.csv"
    for text in ("movieId\n104\n109\n7\n", "userId,movieId\n5,104\n5,109\n5,7\n"):
        mine.write_text(text)
        recommend(tmp_path / "m", ratings=mine, k=30)
        said = capsys.readouterr()
        want = model.recommend(model.fold_in([104, 109]), 30)
        assert [int(line.split()[2]) for line in said.out.splitlines()[1:]] == want["item"].to_list()
        assert said.err.splitlines()[:3] == [
            f"{mine}: there is no column 'rating': each line is an event of strength 1",
            f"{mine}: 1 of 3 events is of unknown items; not used",
            SCORES,
        ]
    mine.write_text("movieId,rating\n104,2.5\n109,1\n104,1\n")
    recommend(tmp_path / "m", ratings=mine, k=3)
    said = capsys.readouterr()
    want = model.recommend(model.fold_in([104, 109], [3.5, 1.0]), 3)
    assert [int(line.split()[2]) for line in said.out.splitlines()[1:]] == want["item"].to_list()
    assert said.err.splitlines() == [SCORES]
    mine.write_text("movieId,rating\n104,2.5\n109,0\n")
    with pytest.raises(DataError, match=r"mine\.csv: line 3: the strength '0' is not above 0; leave out"):
        recommend(tmp_path / "m", ratings=mine, k=3)
    mine.write_text("userId,movieId\n5,104\n6,109\n")
    with pytest.raises(DataError, match=r"mine\.csv: holds events of 2 users; give those of one"):
        recommend(tmp_path / "m", ratings=mine, k=3)


@pytest.mark.parametrize("item_bias", [False, True])
def test_pairs_of_a_model_of_events_are_scored(
    item_bias: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = made_up(tmp_path, 12, 30, EVENTS, item_bias=item_bias)
    model.save(tmp_path / "m")
    pairs, output = tmp_path / "pairs.csv", tmp_path / "scores.csv"
    pairs.write_text("userId,movieId\nu0001,104\nnobody,104\nu0001,7\n")
    predict(tmp_path / "m", pairs=pairs, output=output)
    got = pl.read_csv(output)
    assert got.columns == ["userId", "movieId", "score"]
    want = model.predict(["u0001", "nobody", "u0001"], [104, 104, 7])
    assert got["score"].to_list() == pytest.approx(want.tolist())
    for_user, for_item = ("the item's bias", "the average item's bias") if item_bias else ("0", "0")
    assert capsys.readouterr().err.splitlines() == [
        f"1 of 3 pairs are of 1 user without training events: scored {for_user}",
        f"1 of 3 pairs are of 1 item without training events: scored {for_item}",
        f"3 scores written to {output}",
        SCORES,
    ]


def test_an_item_without_events_has_none_that_are_like_it(tmp_path: Path) -> None:
    model = made_up(tmp_path, 12, 30, EVENTS)
    model.item_counts[4] = 0
    model.save(tmp_path / "m")
    with pytest.raises(RunError, match="item 104 has no training events, so the model knows no features"):
        similar(tmp_path / "m", item="104")
