"""Ratings files: what is read, and the line that every mistake is named by."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cofi_dist.config import ColumnNames, SplitSection
from cofi_dist.data.readers.layout import NOT_TEXT
from cofi_dist.errors import DataError
from tests.support.prepared import read_ratings

COLUMNS = ("userId", "movieId", "rating")


HEADER = "userId,movieId,rating,timestamp\n"


ROWS = [(10, 7, 4.0), (2, 30, 3.5), (10, 5, 0.5), (2, 7, 5.0)]


def write(tmp_path: Path, name: str, text: str | bytes) -> Path:
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def text_of(separator: str, *, header: bool, newline: str = "\n") -> str:
    lines = ["userId{s}movieId{s}rating{s}timestamp".replace("{s}", separator)] if header else []
    lines += [separator.join([str(u), str(i), str(v), "123"]) for u, i, v in ROWS]
    return newline.join(lines) + newline


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize(
    ("name", "separator"), [("r.csv", ","), ("r.tsv", "\t"), ("r.dat", "::")], ids=["csv", "tsv", "dat"]
)
def test_every_text_format_gives_the_same_ratings(
    name: str, separator: str, newline: str, tmp_path: Path
) -> None:
    text = text_of(separator, header=name != "r.dat", newline=newline)
    check_rows(write(tmp_path, name, text))


def test_parquet_gives_the_same_ratings(tmp_path: Path) -> None:
    file = tmp_path / "r.parquet"
    pl.DataFrame(ROWS, schema=COLUMNS, orient="row").write_parquet(file)
    check_rows(file)


@pytest.mark.parametrize(
    "text",
    [
        "﻿" + HEADER + "10,7,4.0,1\n2,30,3.5,1\n10,5,0.5,1\n2,7,5.0,1\n",
        HEADER + "10,7,4.0,1\n\n2,30,3.5,1\n10,5,0.5,1\n2,7,5.0,1\n\n",
        HEADER + "10,7,4.0,1\n2,30,3.5,1\n10,5,0.5,1\n2,7,5.0,1",
        'rating,"movieId",userId\n4.0,7,10\n3.5,"30",2\n0.5,5,10\n5.0,7,2\n',
    ],
    ids=["byte order mark", "blank lines", "no last newline", "other order, quoted"],
)
def test_harmless_variants(text: str, tmp_path: Path) -> None:
    check_rows(write(tmp_path, "r.csv", text))


def check_rows(file: Path) -> None:
    ratings, users, items = read_ratings(file)
    assert users.raw.to_list() == [2, 10]
    assert items.raw.to_list() == [5, 7, 30]
    assert ratings.user.tolist() == [0, 0, 1, 1]
    assert ratings.item.tolist() == [1, 2, 0, 1]
    assert ratings.value.tolist() == [5.0, 3.5, 0.5, 4.0]


def test_string_ids_and_named_columns(tmp_path: Path) -> None:
    file = write(tmp_path, "r.csv", "who,what,stars\nzoe,b 1,2\nann,007,3\nann,7,4\n")
    ratings, users, items = read_ratings(file, columns=ColumnNames(user="who", item="what", rating="stars"))
    assert users.raw.to_list() == ["ann", "zoe"]
    assert items.raw.to_list() == ["007", "7", "b 1"]
    assert ratings.value.tolist() == [3.0, 4.0, 2.0]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        (
            "r.csv",
            "userId,rating\n1,2\n",
            "line 1: no column 'movieId' in userId, rating; 3 columns are needed",
        ),
        ("r.csv", HEADER + "1,1,4.0,9\n1,2,five,9\n", "line 3: the rating 'five' is not a finite number"),
        ("r.csv", HEADER + "1,1,4.0,9\n1,2,nan,9\n", "line 3: the rating 'nan' is not a finite number"),
        ("r.csv", HEADER + "1,1,4.0,9\n1,2,inf,9\n", "line 3: the rating 'inf' is not a finite number"),
        ("r.csv", HEADER + "1,1,4.0,9\n1,2,,9\n", "line 3: the rating '' is not a finite number"),
        ("r.csv", HEADER + "1,1,4.0,9\n,2,3.0,9\n", "line 3: the user id is empty"),
        ("r.csv", HEADER + '1,1,4.0,9\n1,"",3.0,9\n', "line 3: the item id is empty"),
        (
            "r.csv",
            HEADER + "1,1,4.0,9\n2,1,4.0,9\n\n1,1,3.0,9\n",
            "line 5: user 1 rated item 1 on line 2 already",
        ),
        (
            "r.csv",
            HEADER + "1,1,4.0,9\n1,2,3.5",
            "line 3: 3 fields where the first line has 4; was the file cut off?",
        ),
        ("r.csv", HEADER + "1,1,4.0,9\n1", "line 3: 1 fields where the first line has 4"),
        ("r.csv", HEADER + "1,1,4.0,9\n1,2,3.5,9,8\n", "line 3: 5 fields where the first line has 4"),
        ("r.csv", HEADER + "1,1, 4,9\n", "line 2: the rating ' 4' is not a finite number"),
        ("r.csv", HEADER + "1,1,1_0,9\n", "line 2: the rating '1_0' is not a finite number"),
        ("r.csv", HEADER + "1,1,1e999,9\n", "line 2: the rating '1e999' is not a finite number"),
        ("r.csv", HEADER + " ,1,4,9\n", "line 2: the user id is empty"),
        ("r.csv", HEADER + "1, 1,4,9\n", "line 2: the item id ' 1' begins or ends with a blank"),
        ("r.csv", "userId,movieId,rating,rating\n1,1,4,5\n", "line 1: column 'rating' stands there twice"),
        ("r.dat", "1::1::4::9\n1:2::3::4::4\n", "line 2: a field holds a ':'"),
        ("r.csv", "", "is empty"),
        ("r.csv", "\n\n", "is empty"),
        ("r.csv", HEADER, "holds no ratings"),
        ("r.csv", HEADER.encode() + b"1,\xff,4.0,9\n", "line 2: is not UTF-8 text"),
        ("r.tsv", "userId\tmovieId\trating\n1\t1\tx\n", "line 2: the rating 'x' is not a finite number"),
        ("r.dat", "1::1::4::9\n1::2::x::9\n", "line 2: the rating 'x' is not a finite number"),
        ("r.dat", "1::1::4::9\n1::2::3\n", "line 2: 3 fields where the first line has 4"),
        ("r.dat", "1::1::4::9\n1::1::3::9\n", "line 2: user 1 rated item 1 on line 1 already"),
        ("r.dat", "1::1::4::9\n1:2:3:9\n", "line 2: 1 fields where the first line has 4"),
        ("r.dat", "1::2\n", "line 1: needs user::item::rating"),
        ("r.dat", "", "is empty"),
        ("r.xlsx", "x", "unknown kind of file; use .csv, .tsv, .dat or .data"),
        ("r.parquet", "not parquet", "cannot be read as Parquet"),
    ],
)
def test_a_mistake_is_named_by_its_line(name: str, text: str | bytes, says: str, tmp_path: Path) -> None:
    file = write(tmp_path, name, text)
    with pytest.raises(DataError) as caught:
        read_ratings(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"userId": [1, 1], "movieId": [1, 2], "stars": [3, 4]}, "no column 'rating'"),
        (
            {"userId": [1, 1], "movieId": [1, 2], "rating": ["3", "4"]},
            "column 'rating' holds String, not numbers",
        ),
        ({"userId": [1.5, 1], "movieId": [1, 2], "rating": [3, 4]}, "column 'userId' holds Float64"),
        ({"userId": [1, None], "movieId": [1, 2], "rating": [3, 4]}, "row 2:"),
        ({"userId": ["a", ""], "movieId": [1, 2], "rating": [3, 4]}, "row 2:"),
        ({"userId": [1, 1], "movieId": [1, 2], "rating": [3.0, math.nan]}, "row 2:"),
        (
            {"userId": [1, 1], "movieId": [2, 2], "rating": [3.0, 1.0]},
            "row 2: user 1 rated item 2 on row 1 already",
        ),
        ({"userId": [], "movieId": [], "rating": []}, "holds"),
    ],
)
def test_a_mistake_in_parquet_is_named_by_its_row(
    rows: dict[str, list[object]], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "r.parquet"
    pl.DataFrame(rows, strict=False).write_parquet(file)
    with pytest.raises(DataError) as caught:
        read_ratings(file)
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_ratings(tmp_path / "none.csv")


NAMES = {"any.csv", "any.tsv", "any.dat", "any.data", "any.csv.gz", "any.parquet"}


BY_TIME = {"test": SplitSection(by="time", fraction=0.3), "validation": SplitSection(by="last", n=1)}


SETTINGS: list[dict[str, Any]] = [
    {},
    {"duplicates": "last", **BY_TIME},
    {"duplicates": "mean", "min_user_ratings": 2, "test": SplitSection(fraction=0.5, seed=0)},
    {"feedback": "implicit", "duplicates": "sum"},
    {"columns": ColumnNames(weight="timestamp"), "duplicates": "mean"},
]


LINES = st.lists(  # that come near to being ratings
    st.tuples(
        st.sampled_from(["1", "2", '"1"', '"a""b"', 'a"b', "a\rb", '"a\nb"', "-9", ""]),
        st.sampled_from(["1", "7", '"7"', '"7"8', "é"]),
        st.sampled_from(["4", "0.5", "-1e308", "x"]),
        st.sampled_from(["1", "1.7e308", "-1.7e308", "5e-324", "nan"]),
    ).map(",".join),
    max_size=6,
).map(lambda lines: "\n".join(lines).encode())


@pytest.mark.parametrize("name", sorted(NAMES))
@given(
    st.binary(max_size=80) | st.text('019,:.\t\r\n"ab-', max_size=60).map(str.encode) | LINES,
    st.sampled_from(SETTINGS),
)
@example(b"a\rb,1,4,1\na\rb,1,4,1\n", {})  # a lone carriage return, and a duplicate
@example(b'"a""b"-9,1,4,1\n"a""b"-9,1,4,1\n', {})  # text after a closing quote
@example(b"1,7,-1e308,1\n2,7,-1e308,1\n", {})  # a sum that float64 cannot hold
@example(b"1,1,4,-1.7e308\n2,1,4,1.7e308\n3,1,4,0\n", {"duplicates": "last", **BY_TIME})
def test_any_bytes_are_ratings_or_one_line(
    name: str, tmp_path_factory: pytest.TempPathFactory, content: bytes, settings: dict[str, Any]
) -> None:
    header = {"any.csv": HEADER.encode(), "any.tsv": HEADER.replace(",", "\t").encode()}.get(name, b"")
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_bytes(header + content)
    try:
        ratings, users, items = read_ratings(file, **settings)
    except DataError as error:
        assert "\n" not in str(error)
        where = (
            *NOT_TEXT.values(),
            "line ",
            "is empty",
            "holds no ratings",
            "holds no events",
            "the ratings of item",
            "min_user_ratings 2",
            "nothing is left",
            "data.",
        )
        assert name in ("any.parquet", "any.csv.gz") or str(error).removeprefix(f"{file}: ").startswith(where)
        return
    finally:
        assert {path.name for path in folder.iterdir()} <= NAMES, "a half-written directory"
    assert len(ratings) > 0
    assert np.isfinite(ratings.value).all()
    if not settings:  # else some may be held out
        assert set(ratings.user.tolist()) == set(range(len(users)))
        assert set(ratings.item.tolist()) == set(range(len(items)))
