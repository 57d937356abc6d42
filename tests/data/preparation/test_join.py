"""Joined ratings are those of the file with the new lines at its end, and held-out pairs given anew move."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofi_dist.config import ColumnNames, DataSection
from cofi_dist.data.preparation import merged_rows
from cofi_dist.data.preparation.join import Join, JoinFacts, join_ratings, notes_on_join
from cofi_dist.data.preparation.pipeline import prepare
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.readers.ratings_files import RatingsFiles
from cofi_dist.data.splits import Part
from cofi_dist.errors import DataError
from cofi_dist.sharding.ranges import UserRange

Line = tuple[object, object, float, float]  # user, item, value, weight
WEIGHTED = ColumnNames(user="u", item="i", rating="r", weight="w")
PLAIN = ColumnNames(user="u", item="i", rating="r")


def prepared(directory: Path, lines: Sequence[Line], **keys: Any) -> StoredRatings:
    """Prepare lines of a file."""
    file = directory.with_suffix(".csv")
    file.write_text("u,i,r,w\n" + "".join(",".join(map(str, line)) + "\n" for line in lines))
    directory.mkdir()
    prepare(RatingsFiles.of(file), DataSection(ratings=str(file), **keys), directory)
    return StoredRatings(directory)


def facts(columns: ColumnNames, feedback: Any = "explicit") -> JoinFacts:
    again: merged_rows.Again = "add" if feedback == "implicit" else "replace"
    return JoinFacts(
        source="r.csv and new.csv",
        feedback=feedback,
        columns=columns,
        centre=("none", None) if feedback == "implicit" else ("item_mean", None),
        again=again,
        duplicates="error",
    )


def joined(tmp: Path, old: StoredRatings, new: StoredRatings, about: JoinFacts) -> tuple[Join, StoredRatings]:
    (tmp / "joined").mkdir()
    join = join_ratings(old, old.ids, new, new.ids, tmp / "joined", about)
    return join, StoredRatings(tmp / "joined")


ids = st.integers(-3, 12) | st.sampled_from(["a", "7x", "zoe"])
lines = st.lists(
    st.tuples(ids, ids, st.sampled_from([0.5, 1.0, 3.5, 0.1]), st.sampled_from([1.0, 2.0, 0.1])),
    min_size=1,
    max_size=12,
)


@settings(max_examples=10, deadline=None)
@given(lines, lines, st.sampled_from(["weighted", "plain", "implicit"]), st.integers(1, 40))
def test_a_join_equals_preparing_both_files_as_one(
    before: list[Line], after: list[Line], kind: str, spool_rows: int
) -> None:
    columns, feedback = WEIGHTED if kind == "weighted" else PLAIN, "explicit"
    keys: dict[str, Any] = {"columns": columns, "duplicates": "last"}
    if kind == "implicit":
        feedback = "implicit"
        keys = {"columns": columns, "feedback": feedback, "duplicates": "sum"}
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        tmp = Path(name)
        old, new = prepared(tmp / "old", before, **keys), prepared(tmp / "new", after, **keys)
        patch.setattr(merged_rows, "SPOOL_ROWS", spool_rows)
        try:
            join, both = joined(tmp, old, new, facts(columns, feedback))
        except DataError as error:
            assert "write them alike" in str(error)
            assert any(a.raw.dtype != b.raw.dtype for a, b in zip(old.ids, new.ids, strict=True))
            return
        whole = prepared(tmp / "whole", [*before, *after], **keys)
        assert both.fingerprint() == whole.fingerprint()
        pairs = [{(str(u), str(i)) for u, i, *_ in side} for side in (before, after)]
        assert (join.num_new, join.num_again) == (len(pairs[1]), len(pairs[0] & pairs[1]))
        assert not join.num_moved
        for side, ids_of_side in ((0, join.old_users), (1, join.old_items)):
            assert both.ids[side].raw[ids_of_side].cast(pl.String).equals(old.ids[side].raw.cast(pl.String))
        np.testing.assert_array_equal(both.item_sums.total, whole.item_sums.total)
        _same_in_both_orders(both)


def _same_in_both_orders(source: StoredRatings) -> None:
    users, items = UserRange(0, source.num_users), UserRange(0, source.num_items)
    by_user, (offsets, by_item) = source.load(users), source.load_by_item(items)
    order = np.lexsort((by_user.user, by_user.item))
    for name in ("user", "item", "value", "weight"):
        column = getattr(by_user, name)
        if column is not None:
            np.testing.assert_array_equal(getattr(by_item, name), column[order])
    np.testing.assert_array_equal(np.diff(offsets), np.bincount(by_user.item, minlength=source.num_items))
    middle = UserRange(source.num_items // 2, source.num_items)
    starts, part = source.load_by_item(middle)
    np.testing.assert_array_equal(part.user, by_item.user[offsets[middle.start] :])
    np.testing.assert_array_equal(starts + offsets[middle.start], offsets[middle.start :])


GRID: list[Line] = [(u, i, float(1 + (u * i) % 5), 1.0) for u in range(10) for i in range(10)]


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_a_held_out_pair_that_is_given_anew_is_trained_on(tmp_path: Path, feedback: Any) -> None:
    keys: dict[str, Any] = {"columns": PLAIN, "feedback": feedback, "test": {}, "validation": {}}
    old = prepared(tmp_path / "old", GRID, **keys)
    everybody = UserRange(0, 10)
    test, validation, train = (old.load(everybody, part) for part in ("test", "validation", "train"))
    again = [(int(p.user[0]), int(p.item[0]), 4.5, 1.0) for p in (test, validation, train)]
    new = prepared(tmp_path / "new", again, columns=PLAIN, feedback=feedback)
    join, both = joined(tmp_path, old, new, facts(PLAIN, feedback))
    assert (join.num_new, join.num_again, join.num_moved) == (3, 1, 2)
    parts: list[tuple[Part, int]] = [("test", -1), ("validation", -1), ("train", 2)]
    for part, more in parts:
        before, after = old.load(everybody, part), both.load(everybody, part)
        assert len(after) == len(before) + more
    value = {(int(u), int(i)): v for u, i, v in zip(*vars_of(both.load(everybody)), strict=True)}
    for u, i, r, _ in again:
        assert value[u, i] == r + (1 + (u * i) % 5 if feedback == "implicit" else 0)
    told = notes_on_join(join, facts(PLAIN, feedback))
    assert told[-1] == "2 of them were held out so far; now trained on"


def vars_of(ratings: Any) -> tuple[Any, Any, Any]:
    return ratings.user, ratings.item, ratings.value


def test_ids_of_another_kind_are_one_line(tmp_path: Path) -> None:
    numbers = prepared(tmp_path / "numbers", [(1, 2, 3.0, 1.0)], columns=PLAIN)
    text = prepared(tmp_path / "text", [(1, "a", 3.0, 1.0)], columns=PLAIN)
    with pytest.raises(
        DataError, match="ids of items are text, such as 'a', and those of the model are whole"
    ):
        joined(tmp_path, numbers, text, facts(PLAIN))
    (tmp_path / "joined").rmdir()
    with pytest.raises(DataError, match="ids of items are whole numbers, such as 2, and those"):
        joined(tmp_path, text, numbers, facts(PLAIN))


def test_values_that_add_up_to_more_digits_are_kept_exactly(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"columns": PLAIN, "feedback": "implicit"}
    old = prepared(tmp_path / "old", [(1, 1, 2.0**24, 1.0)], **keys)
    new = prepared(tmp_path / "new", [(1, 1, 1.0, 1.0)], **keys)
    _, both = joined(tmp_path, old, new, facts(PLAIN, "implicit"))
    assert both.load(UserRange(0, 1)).value.tolist() == [2.0**24 + 1]
