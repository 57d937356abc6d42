"""Parts of a table are read as the one file that they were cut from; a bad row names its file and line."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofi_dist.config import ColumnNames
from cofi_dist.data.readers import ratings_files
from cofi_dist.data.readers.ratings_files import read_whole_table
from cofi_dist.errors import DataError
from tests.support.prepared import prepared
from tests.support.ratings_files import random_table, save

TABLE = random_table(seed=5)
SPLITS: dict[str, Any] = {"test": {"by": "random"}, "validation": {"by": "last"}}


def cut(table: pl.DataFrame, bounds: list[int], folder: Path, suffix: str) -> Path:
    """Write the table in parts that end at these rows."""
    folder.mkdir()
    for k, (start, stop) in enumerate(zip([0, *bounds], [*bounds, len(table)], strict=True)):
        save(table.slice(start, stop - start), folder / f"part-{k:05}{suffix}")
    return folder


def fingerprint(given: Any, **keys: Any) -> str:
    with prepared(given, **keys) as stored:
        return stored.fingerprint()


@cache
def of_one_file(*, as_text: bool) -> tuple[pl.DataFrame, str]:
    """The table, and the fingerprint of one file that holds it; in the text, one id is no number."""
    table = TABLE
    if as_text:
        is_new = pl.int_range(pl.len()) == 77
        table = TABLE.with_columns(userId=pl.when(is_new).then(pl.lit("new")).otherwise("userId"))
    with tempfile.TemporaryDirectory() as folder:
        return table, fingerprint(save(table, Path(folder) / "one.csv"), **SPLITS)


@settings(max_examples=5, deadline=None)
@given(
    cuts=st.lists(st.integers(0, len(TABLE)), max_size=7).map(sorted),
    suffix=st.sampled_from([".parquet", ".csv", ".csv.gz", ".csv.zst", ".tsv"]),
    form=st.sampled_from(["folder", "pattern", "list"]),
    least_rows=st.sampled_from([1, 50, 10**6]),
    as_text=st.booleans(),
)
def test_any_cuts_give_the_bytes_of_one_file(
    cuts: list[int], suffix: str, form: str, least_rows: int, as_text: bool
) -> None:
    table, want = of_one_file(as_text=as_text)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ratings_files, "LEAST_ROWS", least_rows)
        parts = cut(table, cuts, Path(folder) / "parts", suffix)
        forms = {"pattern": parts / f"*{suffix}", "list": sorted(map(str, parts.iterdir()))[::-1]}
        assert fingerprint(forms.get(form, parts), **SPLITS) == want


def test_the_last_of_a_pair_is_that_of_the_last_file(tmp_path: Path) -> None:
    rows = {"userId": [1, 1], "movieId": [7, 8], "rating": [2.0, 3.0]}
    for name, change in (("a.csv", 0), ("b.csv", 1)):
        save(pl.DataFrame(rows).with_columns(pl.col("rating") + change), tmp_path / name)
    for given_, want in ((tmp_path, 3.0), ([str(tmp_path / "b.csv"), str(tmp_path / "a.csv")], 2.0)):
        with prepared(given_, duplicates="last") as stored:
            assert stored.scale[0] == want
        with pytest.raises(DataError) as caught:
            fingerprint(given_)
        first, second = ("a", "b") if want == 3.0 else ("b", "a")
        where = f"{tmp_path}/{second}.csv: line 2: user 1 rated item 7 on line 2 of {tmp_path}/{first}.csv"
        assert str(caught.value).startswith(f"{where} already; keep one of them")


def test_hive_columns_are_left_out(tmp_path: Path) -> None:
    for year, rows in (
        TABLE.with_row_index("year")
        .with_columns(pl.col("year") % 3)
        .partition_by("year", as_dict=True, include_key=False)
        .items()
    ):
        (tmp_path / "parts" / f"year={year[0]}").mkdir(parents=True)
        save(rows, tmp_path / "parts" / f"year={year[0]}" / "p.parquet")
    assert fingerprint(tmp_path / "parts") == fingerprint(save(TABLE, tmp_path / "one.parquet"))
    with pytest.raises(DataError, match=r"parquet: column 'year' is in names of folders alone"):
        fingerprint(tmp_path / "parts", columns={"timestamp": "year"}, test={"by": "last"})


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst", ".tsv", ".dat", ".parquet"])
def test_a_bad_row_names_its_file_and_line(suffix: str, tmp_path: Path) -> None:
    parts = cut(TABLE, [40, 80], tmp_path / "parts", suffix)
    bad = TABLE[80:].with_columns(
        rating=pl.when(pl.int_range(pl.len()) == 4).then(np.inf).otherwise("rating")
    )
    save(bad, parts / f"part-00002{suffix}")
    where = {".parquet": "row 5: the rating inf", ".dat": "line 5: the rating 'inf'"}
    says = where.get(suffix, "line 6: the rating 'inf'")
    with pytest.raises(DataError, match=rf"parts/part-00002\{suffix}: {says} is not a finite number"):
        fingerprint(parts)


def test_other_columns_are_told_with_both_files(tmp_path: Path) -> None:
    parts = cut(TABLE, [60], tmp_path / "parts", ".csv")
    save(TABLE[:0], parts / "part-00003.csv")  # only a header
    fingerprint(parts)
    save(TABLE[60:].select("movieId", "userId", "timestamp", "rating"), parts / "part-00001.csv")
    fingerprint(parts)  # in another order
    save(TABLE[60:].with_columns(more=1), parts / "part-00001.csv")
    says = (
        "part-00001.csv: has the columns userId, movieId, rating, timestamp, more, and .*part-00000.csv has"
    )
    with pytest.raises(DataError, match=says):
        fingerprint(parts)
    (parts / "part-00001.csv").write_text("userId;movieId;rating;timestamp\n1;2;3;4\n")
    with pytest.raises(
        DataError, match=r"part-00001.csv: its fields are not separated as those of .*part-00000"
    ):
        fingerprint(parts)
    (parts / "part-00001.csv").write_text("")
    with pytest.raises(DataError, match=r"part-00001.csv: is empty"):
        fingerprint(parts)


def test_parquet_parts_may_have_more_columns_but_not_strengths_in_some(tmp_path: Path) -> None:
    parts = cut(TABLE, [60], tmp_path / "parts", ".parquet")
    save(
        TABLE[60:].with_columns(more=1, userId=pl.col("userId").cast(pl.Int32)), parts / "part-00001.parquet"
    )
    assert fingerprint(parts) == fingerprint(save(TABLE, tmp_path / "one.parquet"))
    save(TABLE[60:].drop("rating"), parts / "part-00001.parquet")
    for keys in ({}, {"feedback": "implicit"}):
        with pytest.raises(
            DataError, match=r"part-00001.parquet: has the columns userId, movieId, timestamp, and"
        ):
            fingerprint(parts, **keys)


def test_parquet_parts_have_ids_of_one_kind(tmp_path: Path) -> None:
    parts = cut(TABLE, [60], tmp_path / "parts", ".parquet")
    for name in ("userId", "movieId"):
        save(TABLE[60:].with_columns(pl.col(name).cast(pl.String)), parts / "part-00001.parquet")
        says = f"part-00001.parquet: column '{name}' holds String, and that of .*part-00000.parquet Int64;"
        with pytest.raises(DataError, match=says):
            fingerprint(parts)
    save(TABLE[60:].with_columns(pl.col("userId").cast(pl.Decimal(20, 0))), parts / "part-00001.parquet")
    assert fingerprint(parts) == fingerprint(save(TABLE, tmp_path / "one.parquet"))


def test_odd_ids_are_told_with_their_file_and_line(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "a.csv").write_text("userId,movieId,rating\n1,10,4\n2,10,4\n")
    (parts / "b.csv").write_text("userId,movieId,rating\n3,10,4\n\n01,10,4\n")
    notes: list[str] = []
    table = read_whole_table(parts, ColumnNames(), notes)
    assert table["user"].to_list() == ["1", "2", "3", "01"]
    where = f"line 4 of {parts}/b.csv"
    assert notes[0].startswith(f"user ids are text, not numbers: '01' on {where} is no plain whole number")
    with prepared(parts) as stored:
        assert set(notes) < set(stored.notes)
        assert any(
            f"first '01' ({where}), like '1' (line 2 of {parts}/a.csv)" in note for note in stored.notes
        )
