"""Id maps: saved, loaded."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofi_dist.data import ids
from cofi_dist.data.ids import IdMap
from cofi_dist.errors import RunError


def test_an_id_map_is_saved_and_loaded(tmp_path: Path) -> None:
    saved = IdMap(pl.Series(["a", "b"]))
    saved.save(tmp_path / "ids.parquet")
    assert IdMap.load(tmp_path / "ids.parquet", 2).raw.to_list() == ["a", "b"]
    with pytest.raises(RunError, match="cannot be read: No such file"):
        IdMap.load(tmp_path / "none.parquet", 2)


@pytest.mark.parametrize(
    ("raw", "wanted", "rows"),
    [
        ([3, 7, 10], pl.Series([10, 3, 4]), [2, 0, -1]),
        ([3, 7, 10], pl.Series(["10", "03", "x"]), [2, -1, -1]),
        (["10", "3", "x"], pl.Series(["x", "3", "03"]), [2, 1, -1]),
        (["10", "3", "x"], pl.Series([3, 10, 4]), [1, 0, -1]),
    ],
    ids=["integers", "text in a map of integers", "text", "integers in a map of text"],
)
def test_an_id_is_found_in_its_plain_form_only(raw: list[object], wanted: pl.Series, rows: list[int]) -> None:
    assert IdMap(pl.Series(raw)).find(wanted).tolist() == rows


NUMBERS, TEXTS = st.integers(-30, 30), st.text("0123é\U0001f600", max_size=3)


@settings(max_examples=60, deadline=None)
@given(
    raw=st.one_of(
        st.sets(st.integers(-50, 50), min_size=1), st.sets(st.text("0123é\U0001f600", max_size=3), min_size=1)
    ),
    wanted=st.one_of(
        st.lists(st.none() | st.integers(-60, 60)),
        st.lists(st.none() | st.text("0123é\U0001f600", max_size=3)),
    ),
)
def test_few_ids_are_found_as_many_are(raw: set[Any], wanted: list[Any]) -> None:
    kind = pl.Int64 if isinstance(next(iter(raw)), int) else pl.String
    asked = pl.Series(wanted, dtype=pl.String if any(isinstance(each, str) for each in wanted) else pl.Int64)
    map_ = IdMap(pl.Series("id", list(raw), dtype=kind).sort())
    found = []
    for few in (0, 1000):  # times as many
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(ids, "FEW", few)
            found.append(map_.find(asked).tolist())
    assert found[0] == found[1]


def test_equal_maps_alone_have_equal_digests() -> None:
    maps = [pl.Series([1, 2]), pl.Series(["1", "2"]), pl.Series(["12"]), pl.Series(["1", "2", "3"])]
    assert len({IdMap(raw).digest for raw in maps}) == len(maps)
    assert IdMap(pl.Series(["1", "2"])).digest == IdMap(pl.Series("other", ["1", "2"])).digest
