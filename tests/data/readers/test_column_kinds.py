"""Columns of every kind that polars has: read as what they say, or refused by name."""

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cofi_dist.config import ColumnNames, SplitSection
from cofi_dist.data.readers.column_kinds import CONVERSIONS, Role, converter, refusal
from cofi_dist.data.readers.ratings_files import read_whole_table
from cofi_dist.data.readers.tables import stream_tables
from cofi_dist.errors import DataError
from cofi_dist.model.arguments import as_ids
from tests.support.prepared import prepared, read_ratings

MOMENT = datetime(2005, 9, 6, 1, 30, tzinfo=UTC)
SECONDS = MOMENT.timestamp()
WHOLE: dict[str, Any] = {
    name: getattr(pl, name)
    for name in (
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "Int128",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "UInt128",
    )
}
# A value of each kind, and what it is as an id, as a rating and as a time; None: it is refused.
READ: list[tuple[pl.DataType, Any, Any, float | None, float | None]] = [
    *((kind(), 7, 7, 7.0, 7.0) for kind in WHOLE.values()),
    (pl.UInt64(), 2**64 - 1, str(2**64 - 1), 2.0**64, 2.0**64),
    (pl.Int128(), -(2**100), str(-(2**100)), -(2.0**100), -(2.0**100)),
    (pl.UInt128(), 2**127, str(2**127), 2.0**127, 2.0**127),
    *((kind(), 4.5, None, 4.5, 4.5) for kind in (pl.Float16, pl.Float32, pl.Float64)),
    (pl.Decimal(9, 1), Decimal("4.5"), None, 4.5, 4.5),
    (pl.Decimal(18, 2), Decimal("-0.35"), None, -0.35, -0.35),
    (pl.Decimal(38, 30), Decimal("4.1"), None, 4.1, 4.1),
    (pl.Decimal(38, 0), Decimal(12), 12, 12.0, 12.0),
    (pl.Decimal(38, 0), Decimal(10) ** 37, "1" + 37 * "0", 1e37, 1e37),
    (pl.String(), "u 1", "u 1", None, None),
    (pl.Categorical(), "u 1", "u 1", None, None),
    (pl.Enum(["x", "u 1"]), "u 1", "u 1", None, None),
    (pl.Date(), date(2005, 9, 6), None, None, SECONDS - 5400),
    *((pl.Datetime(unit), MOMENT.replace(tzinfo=None), None, None, SECONDS) for unit in ("ms", "us", "ns")),
    (pl.Datetime("us", "UTC"), MOMENT, None, None, SECONDS),
    (pl.Datetime("ms", "Asia/Tokyo"), MOMENT, None, None, SECONDS),
    *((pl.Duration(unit), timedelta(minutes=2), None, None, 120.0) for unit in ("ms", "us", "ns")),
    (pl.Time(), time(1, 30), None, None, None),
    (pl.Boolean(), True, None, None, None),
    (pl.Binary(), b"\x01", None, None, None),
    (pl.Null(), None, None, None, None),
    (pl.List(pl.Int64), [1], None, None, None),
    (pl.Array(pl.Int64, 1), [1], None, None, None),
    (pl.Struct({"a": pl.Int64}), {"a": 1}, None, None, None),
    # newer than the lowest version of polars
    *([(pl.Map(pl.String, pl.Int64), {"a": 1}, None, None, None)] if hasattr(pl, "Map") else []),
]
NOT_IN_FILES = {"Object", "Unknown", "BaseExtension", "Extension"}


def test_every_kind_that_polars_has_is_tried() -> None:
    have = {
        name
        for name, kind in vars(pl).items()
        if isinstance(kind, type) and issubclass(kind, pl.DataType) and kind is not pl.DataType
    }
    tried = {type(kind).__name__ for kind, *_ in READ}
    assert have - {"Utf8"} == tried | NOT_IN_FILES
    assert {kind.__name__ for reads, _ in CONVERSIONS.values() for kind in reads} <= tried


@pytest.mark.parametrize(
    ("kind", "value", "as_id", "as_rating", "as_time"),
    READ,
    ids=[f"{kind}-{value}" for kind, value, *_ in READ],
)
def test_a_column_is_read_as_what_it_says_or_refused_by_name(
    kind: pl.DataType, value: Any, as_id: Any, as_rating: float | None, as_time: float | None, tmp_path: Path
) -> None:
    others: dict[str, list[Any]] = {"userId": [1], "movieId": [2], "rating": [3.0], "timestamp": [4]}
    wants: dict[str, tuple[Role, Any]] = {
        "userId": ("user", as_id), "movieId": ("item", as_id), "rating": ("rating", as_rating),
        "timestamp": ("time", as_time),
    }  # fmt: skip
    for name, (what, want) in wants.items():
        file = tmp_path / f"{name}.parquet"
        column = pl.Series(name, [value], dtype=kind)
        pl.DataFrame(others).with_columns(column).write_parquet(file)
        if want is None:
            with pytest.raises(DataError) as caught:
                list(stream_tables(file, ColumnNames(), time=True))
            assert f"{file}: column {name!r} holds {kind}, not {CONVERSIONS[what][1]}" in str(caught.value)
        else:
            (table,) = stream_tables(file, ColumnNames(), time=True)
            got = table["value" if what == "rating" else what]
            assert got.to_list() == [want]
            assert got.dtype == (pl.Float64 if what in ("rating", "time") else pl.Series([want]).dtype)


def test_what_no_file_holds_has_no_reader() -> None:
    for kind in (pl.Object(), pl.Unknown()):
        assert all(converter(what, kind) is None for what in CONVERSIONS)


def test_a_decimal_of_more_digits_than_can_be_read_is_refused_by_name() -> None:
    wide = pl.Decimal(60, 10)  # other programs write them
    for what in CONVERSIONS:
        assert converter(what, wide) is None
        assert (
            refusal(what, wide) == "holds Decimal(precision=60, scale=10), of more than 38 digits; convert it"
        )


def test_decimal_ratings_prepare_as_those_of_a_csv_file(tmp_path: Path) -> None:
    values = [str(k / 2) for k in range(1, 11)]
    table = pl.DataFrame({"userId": range(10), "movieId": 10 * [3], "rating": values})
    table.write_csv(tmp_path / "r.csv", quote_style="never")
    for precision, scale in ((3, 1), (10, 2), (38, 20)):
        decimals = table.with_columns(pl.col("rating").cast(pl.Decimal(precision, scale)))
        decimals.write_parquet(tmp_path / "r.parquet")
        with prepared(tmp_path / "r.csv") as of_csv, prepared(tmp_path / "r.parquet") as of_parquet:
            assert of_parquet.scale == (0.5, 5.0)
            assert of_parquet.fingerprint() == of_csv.fingerprint()
        both = [read_whole_table(tmp_path / name, ColumnNames(), []) for name in ("r.csv", "r.parquet")]
        assert both[0].equals(both[1])


def test_hashes_of_64_bits_are_the_ids_that_they_are_in_a_csv_file(tmp_path: Path) -> None:
    ids = [2**63 + 10, 5, 2**64 - 1]
    pl.DataFrame({"userId": [1, 2, 3], "movieId": ids, "rating": [1, 2, 3]}).with_columns(
        pl.col("movieId").cast(pl.UInt64)
    ).write_parquet(tmp_path / "r.parquet")
    pl.read_parquet(tmp_path / "r.parquet", glob=False).write_csv(tmp_path / "r.csv")
    for name in ("r.parquet", "r.csv"):
        assert read_ratings(tmp_path / name)[2].raw.to_list() == sorted(map(str, ids))


def test_times_split_alike_whether_they_are_dates_or_seconds(tmp_path: Path) -> None:
    seconds = np.random.default_rng(3).permutation(60) * 90_000 + 10**9
    table = pl.DataFrame(
        {"userId": range(60), "movieId": 60 * [1], "rating": 60 * [3.0], "timestamp": seconds}
    )
    moments = pl.from_epoch("timestamp", "s")
    kinds = [
        pl.col("timestamp"),
        moments,
        moments.dt.convert_time_zone("America/New_York"),
        moments.dt.date(),
    ]
    found = set()
    for kind in kinds:
        table.with_columns(kind).write_parquet(tmp_path / "r.parquet")
        with prepared(tmp_path / "r.parquet", test=SplitSection(by="time", fraction=0.3)) as stored:
            found.add(stored.fingerprint())
    assert len(found) == 1


def test_the_first_bad_row_is_named_in_words(tmp_path: Path) -> None:
    good: dict[str, Any] = {
        "userId": ["a", "b"],
        "movieId": [1, 2],
        "rating": [1.0, 2.0],
        "timestamp": [1, 2],
    }
    for name, values, says in (
        ("userId", ["a", None], "row 2: there is no user id"),
        ("userId", ["a", " b"], "row 2: the user id ' b' begins or ends with a blank"),
        ("movieId", [None, 1], "row 1: there is no item id"),
        ("rating", [1.0, None], "row 2: there is no rating"),
        ("rating", [1.0, float("nan")], "row 2: the rating nan is not a finite number"),
        ("timestamp", [None, MOMENT], "row 1: there is no timestamp"),
    ):
        pl.DataFrame({**good, name: values}).write_parquet(tmp_path / "r.parquet")
        with pytest.raises(DataError, match=says):
            list(stream_tables(tmp_path / "r.parquet", ColumnNames(), time=True))


def test_ids_from_python_are_read_as_those_of_a_file() -> None:
    assert as_ids(pl.Series(["a"], dtype=pl.Categorical)).dtype == pl.String
    assert as_ids(pl.Series([2**63], dtype=pl.UInt64)).to_list() == [str(2**63)]
    assert as_ids(pl.Series([3], dtype=pl.UInt8)).dtype == pl.Int64
    assert len(as_ids(())) == 0
    with pytest.raises(DataError, match="ids must be integers or text, not Float64"):
        as_ids(pl.Series([1.0]))


def test_a_damaged_parquet_file_is_refused_and_its_reader_panics_unheard(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "r.parquet"
    table = pl.DataFrame({"userId": [f"u{k}" for k in range(99)], "movieId": range(99), "rating": 99 * [1.5]})
    table.write_parquet(file)
    whole = file.read_bytes()
    for at, byte in ((188, 241), (549, 87), (1181, 125)):  # what panics changes with polars' writer
        file.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
        with suppress(DataError):
            read_whole_table(file, ColumnNames(), [])
    file.write_bytes(whole[:1000])
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_whole_table(file, ColumnNames(), [])
    assert capfd.readouterr() == ("", "")
