"""What the page is told is what the model says."""

from pathlib import Path

import numpy as np
import pytest

from cofi_dist.errors import DataError
from cofi_dist.explore.catalogue import Catalogue
from cofi_dist.explore.explored import ExploredModel, UnknownError
from cofi_dist.explore.questions import (
    Explain,
    History,
    Neighbours,
    Rating,
    Recommend,
    Similar,
)
from tests.support.models import in_parts, made_up

MINE = [Rating(item="101", value=5.0), Rating(item="107", value=1.5), Rating(item="no such", value=3.0)]


def test_recommendations_are_those_of_the_model(explored: list[ExploredModel]) -> None:
    of_ratings, of_events = explored
    answer = of_ratings.recommend(Recommend(ratings=MINE, k=4, min_ratings=7))
    model = of_ratings.model
    want = model.recommend(model.fold_in(["101", "107"], [5.0, 1.5]), 4, min_ratings=7)
    assert [row["item"] for row in answer["items"]] == [str(item) for item in want["item"]]
    assert [row["prediction"] for row in answer["items"]] == want["prediction"].to_list()
    assert answer["unknown"] == 1
    counted = of_events.recommend(Recommend(ratings=[Rating(item="101")], k=4))
    want = of_events.model.recommend(of_events.model.fold_in([101]), 4)
    assert [row["score"] for row in counted["items"]] == want["score"].to_list()
    assert "prediction" not in counted["items"][0]


def test_a_known_user_gets_the_list_of_the_command(explored: list[ExploredModel]) -> None:
    one = explored[0]
    answer = one.recommend(Recommend(user="u0003", k=5))
    want = one.model.recommend("u0003", 5, rated=one.rated)
    assert [row["score"] for row in answer["items"]] == want["score"].to_list()
    assert not {row["item"] for row in answer["items"]} & {
        row["item"] for row in one.history(History(user="u0003"))["items"]
    }


def test_reasons_add_up_to_the_score_in_the_list(explored: list[ExploredModel]) -> None:
    for one in explored:
        (best,) = one.recommend(Recommend(ratings=MINE, k=1))["items"]
        why = one.explain(Explain(ratings=MINE, item=best["item"], k=1))
        assert why["score"] == pytest.approx(best["score"], abs=1e-9)
        assert why["trained_score"] == best["score"], "to the last bit"
        parts = sum(row["contribution"] for row in why["ratings"])
        assert parts + why["rest"] + why["offset"] + why["unrated"] == pytest.approx(why["score"])
        assert (len(why["ratings"]), why["more"]) == (1, 1)


def test_reasons_of_a_known_user_are_their_ratings(explored: list[ExploredModel]) -> None:
    one = explored[0]
    why = one.explain(Explain(user="u0003", item="101", k=100))
    trained = {row["item"] for row in one.history(History(user="u0003"))["items"] if row["part"] == "train"}
    assert {row["item"] for row in why["ratings"]} == trained


def test_a_history_has_the_held_out_ratings_and_begins_with_the_highest(
    explored: list[ExploredModel],
) -> None:
    one = explored[0]
    answer = one.history(History(user="u0003", k=6))
    values = [row["value"] for row in answer["items"]]
    assert values == sorted(values, reverse=True)
    assert answer["total"] > len(values) == 6
    assert {row["part"] for row in one.history(History(user="u0003"))["items"]} == {"train", "test"}


def test_neighbours_have_places_and_the_item_itself_is_the_first(explored: list[ExploredModel]) -> None:
    one = explored[0]
    answer = one.neighbourhood(Neighbours(item="101", k=7))
    similar = one.similar(Similar(item="101", k=7))["items"]
    assert [row["item"] for row in answer["items"]] == ["101", *(row["item"] for row in similar)]
    places = np.array([(row["x"], row["y"]) for row in answer["items"]])
    assert places.shape == (8, 2)
    assert np.abs(places).max() == pytest.approx(1)
    assert 0 < answer["share"] <= 1


def test_titles_and_numbers_of_ratings_come_with_items(explored: list[ExploredModel]) -> None:
    rows = {row["item"]: row for row in explored[0].recommend(Recommend(ratings=MINE, k=28))["items"]}
    assert rows["102"]["title"] == "The Long Walk"
    assert rows["120"]["title"] is None
    assert rows["120"]["ratings"] == explored[0].model.item_counts[20]


def test_what_is_not_there_is_named(explored: list[ExploredModel]) -> None:
    of_ratings, of_events = explored
    with pytest.raises(UnknownError, match=r"^ratings has no user zoe$"):
        of_ratings.history(History(user="zoe"))
    with pytest.raises(UnknownError, match=r"^ratings has no item 7$"):
        of_ratings.similar(Similar(item="7"))
    with pytest.raises(
        UnknownError, match=r"^item 109 has no training ratings, so ratings knows no features of it"
    ):
        of_ratings.neighbourhood(Neighbours(item="109"))
    with pytest.raises(UnknownError, match="user u0011 has no training ratings to explain a score by"):
        of_ratings.explain(Explain(user="u0011", item="101"))
    with pytest.raises(UnknownError, match="this model has come without its ratings"):
        of_events.history(History(user="u0001"))
    with pytest.raises(DataError, match="item 101 has no value; ratings learnt from ratings"):
        of_ratings.recommend(Recommend(ratings=[Rating(item="101")]))


def test_users_are_found_by_the_beginning_of_their_ids(explored: list[ExploredModel]) -> None:
    assert explored[0].users("u001", 5) == {"users": ["u0010", "u0011"]}
    assert explored[0].users("", 3) == {"users": ["u0000", "u0001", "u0002"]}


def test_a_model_in_parts_answers_the_same(tmp_path: Path) -> None:
    whole = made_up(tmp_path)
    parts = in_parts(whole, tmp_path / "parts", users=[5], items=[4, 20])
    catalogue = Catalogue([whole], {})
    one, other = (ExploredModel.open("it", model, catalogue) for model in (whole, parts))
    for asked in (Recommend(ratings=MINE), Recommend(user="u0007")):
        assert one.recommend(asked) == other.recommend(asked)
    assert one.neighbourhood(Neighbours(item="101")) == other.neighbourhood(Neighbours(item="101"))
