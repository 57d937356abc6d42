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
