"""recommend and similar say why lists are short, and that they rest on few ratings."""

from dataclasses import replace
from pathlib import Path

import pytest

from cofi_dist.cli.recommend import recommend
from cofi_dist.cli.similar import similar
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
