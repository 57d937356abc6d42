"""Titles are found as people type them, the best known first."""

from pathlib import Path

import pytest

from cofi_dist.explore.catalogue import Catalogue
from tests.explore.conftest import TITLES
from tests.support.models import made_up


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    model = made_up(tmp_path)
    model.arrays.item_counts[:] = range(30)
    return Catalogue([model], TITLES)


def found(catalogue: Catalogue, text: str, limit: int = 10) -> list[str]:
    return [item["item"] for item in catalogue.search(text, limit)[0]]


def test_all_words_must_be_there_in_any_order(catalogue: Catalogue) -> None:
    assert found(catalogue, "long walk") == ["104", "102"], "most ratings first"
    assert found(catalogue, "  WALK   long ") == ["104", "102"]
    assert found(catalogue, "walk of the moon") == []


def test_a_title_that_begins_with_the_text_comes_first_then_a_word_that_does(catalogue: Catalogue) -> None:
    assert found(catalogue, "the long") == ["102"]
    assert found(catalogue, "sea") == ["104", "103"]
    assert found(catalogue, "a walk") == ["103", "104", "102"], "a: the beginning, then within a word"


def test_accents_and_case_do_not_matter(catalogue: Catalogue) -> None:
    for text in ("amelie", "AMÉLIE", "ame\u0301lie"):
        assert found(catalogue, text) == ["101"]


def test_what_has_no_title_is_found_by_its_id_and_what_has_one_by_its_whole_id(catalogue: Catalogue) -> None:
    assert found(catalogue, "129") == ["129"]
    assert found(catalogue, "102") == ["102"]
    assert found(catalogue, "12") == [str(item) for item in range(129, 119, -1)], "by the ids' digits"


def test_an_empty_text_finds_what_has_most_ratings(catalogue: Catalogue) -> None:
    items, total = catalogue.search(" ", 2)
    assert [item["item"] for item in items] == ["129", "128"]
    assert (total, items[0]["ratings"], items[0]["title"]) == (30, 29, None)


def test_signs_of_regular_expressions_are_signs(catalogue: Catalogue) -> None:
    assert found(catalogue, "(2001") == ["101"]
    assert found(catalogue, ".*") == []
    assert found(catalogue, "<img") == ["100"]


def test_the_items_of_two_models_are_one_catalogue(tmp_path: Path) -> None:
    small, large = made_up(tmp_path, 3, 5), made_up(tmp_path, 3, 8)
    large.arrays.item_counts[:] = 100
    catalogue = Catalogue([small, large], {})
    assert len(catalogue) == 8
    assert {item["ratings"] for item in catalogue.search("", 8)[0]} == {100}
