"""Id maps: saved, loaded."""

from pathlib import Path

import polars as pl
import pytest

from cofi_dist.data.ids import IdMap
from cofi_dist.errors import RunError


def test_an_id_map_is_saved_and_loaded(tmp_path: Path) -> None:
    ids = IdMap(pl.Series(["a", "b"]))
    ids.save(tmp_path / "ids.parquet")
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


def test_equal_maps_alone_have_equal_digests() -> None:
    maps = [pl.Series([1, 2]), pl.Series(["1", "2"]), pl.Series(["12"]), pl.Series(["1", "2", "3"])]
    assert len({IdMap(raw).digest for raw in maps}) == len(maps)
    assert IdMap(pl.Series(["1", "2"])).digest == IdMap(pl.Series("other", ["1", "2"])).digest
