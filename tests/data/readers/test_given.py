"""Tables that were given in Python: prepared as a file of the same ratings, or refused in one line."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cofi_dist.config import ColumnNames, DataSection
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.readers import given_table
from cofi_dist.data.readers.given import as_input, as_table
from cofi_dist.data.readers.layout import Advice
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.errors import DataError

USERS, ITEMS, VALUES = [3, 1, 2, 1], [10, 10, 20, 30], [4.5, 3.0, 1.0, 5.0]
FRAME = pl.DataFrame({"userId": USERS, "movieId": ITEMS, "rating": VALUES})


def arrays_of(stored: StoredRatings) -> dict[str, bytes]:
    """The bytes of every prepared array, and the ids."""
    files = {file.name: file.read_bytes() for file in stored.directory.glob("*.npy")}
    assert files
    return {**files, "ids": repr([ids.raw.to_list() for ids in stored.ids]).encode()}


def prepared_arrays(ratings: Any, **keys: Any) -> dict[str, bytes]:
    """What preparing a table, or a file, writes."""
    table = None if isinstance(ratings, Path) else as_table(ratings)
    where = {"ratings": str(ratings)} if table is None else {"table": table.kind}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "prepared"
        with prepare_source(DataSection.model_validate({**where, **keys}), target, table) as ready:
            ready.keep(target)
        return arrays_of(StoredRatings(target))


def notes_of(ratings: Any, **keys: Any) -> list[str]:
    """The notes of preparing a table."""
    table = as_table(ratings)
    data = DataSection.model_validate({"table": table.kind, **keys})
    with (
        tempfile.TemporaryDirectory() as folder,
        prepare_source(data, Path(folder) / "x", table) as ready,
    ):
        assert isinstance(ready.source, StoredRatings)
        return ready.source.notes


# The same ratings, from a polars frame with the columns of MovieLens, by every way into the package.
WAYS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda frame: frame,
    "pandas": lambda frame: frame.to_pandas(),
    "pandas objects": lambda frame: frame.to_pandas().astype(object),
    "pandas nullable": lambda frame: frame.to_pandas().convert_dtypes(),
    "pandas Arrow": lambda frame: frame.to_pandas().convert_dtypes(dtype_backend="pyarrow"),
    "pandas categories": lambda frame: frame.to_pandas().astype({"userId": "category"}),
    "Arrow": lambda frame: frame.to_arrow(),
    "Arrow batches": lambda frame: frame.to_arrow().to_reader(),
    "Arrow dictionary": lambda frame: frame.to_arrow().set_column(
        0, "userId", frame["userId"].to_arrow().dictionary_encode()
    ),
    "numpy": lambda frame: tuple(frame[name].to_numpy() for name in frame.columns),
    "lists": lambda frame: tuple(frame[name].to_list() for name in frame.columns),
    "series": lambda frame: (frame["userId"], frame["movieId"].to_pandas(), frame["rating"].to_arrow()),
}
MATRICES = ("coo", "csr", "csc", "lil", "dok")

some_ids = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 50),
    st.integers(2**63, 2**64 - 1),
)
texts = st.text(st.characters(codec="utf-8", categories=["L"]), min_size=1, max_size=4)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Ratings of random users and items, some of them several times."""
    count = draw(st.integers(1, 12))
    ids: list[list[Any]] = [
        draw(st.lists(draw(st.sampled_from([some_ids, texts])), min_size=count, max_size=count))
        for _ in range(2)
    ]
    values = draw(
        st.lists(st.integers(-40, 40).map(lambda tenth: tenth / 10), min_size=count, max_size=count)
    )
    columns = []
    for name, column in zip(("userId", "movieId"), ids, strict=True):
        is_wide = isinstance(column[0], int) and max(column) >= 2**63
        unsigned = [abs(each) for each in column] if is_wide else column
        columns.append(pl.Series(name, unsigned, dtype=pl.UInt64 if is_wide else None))
    return pl.DataFrame([*columns, pl.Series("rating", values, dtype=pl.Float64)])


def tables_of(ratings: Any) -> pl.DataFrame:
    """All that is read of a table, or a file, as one table; ids are text if one piece has text."""
    pieces = list(as_input(ratings).tables(ColumnNames()))
    for name in ("user", "item"):
        if len({piece.schema[name] for piece in pieces}) > 1:
            pieces = [piece.with_columns(pl.col(name).cast(pl.String)) for piece in pieces]
    return pl.concat(pieces)


@settings(max_examples=25)
@given(frame=frames(), rows=st.integers(1, 5))
def test_a_table_is_read_as_a_csv_file_by_every_way(frame: pl.DataFrame, rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        frame.write_csv(Path(folder) / "r.csv")
        want = tables_of(Path(folder) / "r.csv")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(given_table, "TABLE_ROWS", rows)
        for name, way in WAYS.items():
            assert tables_of(way(frame)).equals(want), name


def test_a_table_prepares_to_the_bits_of_a_csv_file(tmp_path: Path) -> None:
    FRAME.write_csv(tmp_path / "r.csv")
    want = prepared_arrays(tmp_path / "r.csv")
    for name in ("polars", "pandas objects", "Arrow batches", "lists"):
        assert prepared_arrays(WAYS[name](FRAME)) == want, name
    assert prepared_arrays(sp.csr_array((VALUES, (USERS, ITEMS)))) == want


@settings(max_examples=15)
@given(cells=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=1, max_size=12, unique=True))
def test_every_format_of_a_matrix_is_read_as_its_entries(cells: list[tuple[int, int]]) -> None:
    users, items = zip(*cells, strict=True)
    values = [1.0 + cell % 5 for cell in range(len(cells))]
    want = tables_of((users, items, values)).sort("user", "item")
    matrix = sp.coo_array((values, (users, items)), shape=(6, 8))
    for form in (*MATRICES, "dia"):
        assert tables_of(matrix.asformat(form)).sort("user", "item").equals(want), form
    assert tables_of(sp.csr_matrix(matrix)).sort("user", "item").equals(want)


def test_a_zero_that_a_matrix_stores_is_a_rating_and_what_it_holds_twice_is_a_duplicate() -> None:
    matrix = sp.coo_array(([0.0, 2.0, 4.0], ([0, 1, 1], [1, 0, 0])), shape=(3, 2))
    want = prepared_arrays(([0, 1], [1, 0], [0.0, 3.0]))
    assert prepared_arrays(matrix, duplicates="mean") == want
    assert "1 row and 0 columns of the matrix are empty: the model has no such users and items" in notes_of(
        matrix, duplicates="last"
    )


def test_events_need_no_values() -> None:
    want = prepared_arrays((USERS, ITEMS, [1.0] * 4), feedback="implicit")
    for table in ((USERS, ITEMS), FRAME.drop("rating"), FRAME.drop("rating").to_pandas()):
        assert prepared_arrays(table, feedback="implicit") == want
    assert notes_of((USERS, ITEMS), feedback="implicit")[1:] == [
        "there are no values: each pair is an event of strength 1"
    ]
    assert notes_of(FRAME.rename({"rating": "plays"}), feedback="implicit")[1:] == [
        "there is no column 'rating': each row is an event of strength 1; if one of plays holds strengths,"
        " set data.columns.rating"
    ]


def test_columns_are_found_by_the_names_in_the_config_and_others_are_not_looked_at() -> None:
    want = prepared_arrays(FRAME)
    named = {"user": "who", "item": "1", "rating": "stars"}
    frame = pd.DataFrame({"who": USERS, 1: ITEMS, "stars": VALUES, "junk": [object(), 1, "a", None]})
    assert prepared_arrays(frame.set_index(pd.Index(list("abcd"))), columns=named) == want


def test_times_and_weights_are_read_where_they_are_asked_for() -> None:
    test = {"by": "time", "fraction": 0.3}
    want = prepared_arrays((USERS, ITEMS, VALUES, [4, 3, 2, 1]), test=test)
    with_times = FRAME.with_columns(timestamp=pl.Series([4, 3, 2, 1]), w=pl.Series([1.0, 2.0, 1.0, 3.0]))
    assert prepared_arrays(with_times, test=test) == want
    assert prepared_arrays(with_times.to_pandas(), test=test) == want
    assert "train_weight.npy" in prepared_arrays(with_times, columns={"weight": "w"})


def test_ids_that_look_alike_are_noted_with_their_rows() -> None:
    notes = notes_of((["1", "01", "b"], [1, 2, 3], [1, 2, 3]))
    assert any("'01' on row 2" in note for note in notes)


def test_the_kind_of_a_table_is_that_of_its_library() -> None:
    kinds = {
        "polars.DataFrame": FRAME,
        "pandas.DataFrame": FRAME.to_pandas(),
        "pyarrow.Table": FRAME.to_arrow(),
        "scipy.sparse.csr_array": sp.eye_array(3, format="csr"),
        "arrays": (USERS, ITEMS, VALUES),
    }
    assert {as_table(table).kind for table in kinds.values()} == set(kinds)
    assert as_input("some.csv").name == "some.csv"


NAN = float("nan")
WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no column": (FRAME.drop("movieId"), {}, "no column 'movieId'; it has userId, rating; set data.columns"),
    "no ratings": (FRAME.drop("rating"), {}, "if the rows are events, such as clicks, set data.feedback"),
    "index": (
        FRAME.to_pandas().set_index("userId"),
        {},
        "column 'userId' is the index; give ratings.reset_index()",
    ),
    "levels": (
        pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
        {},
        "the columns have 2 levels",
    ),
    "column twice": (
        pa.table([pa.array(USERS), pa.array(ITEMS), pa.array(USERS)], ["userId", "movieId", "userId"]),
        {},
        "column 'userId' stands there twice; rename one, or leave it out",
    ),
    "no columns": (pl.DataFrame(), {}, "has no columns"),
    "no rows": (FRAME.head(0).to_pandas().astype(object), {}, "holds no ratings"),
    "no entries": (sp.csr_array((3, 4)), {}, "holds no ratings"),
    "NaN id": (FRAME.to_pandas().assign(userId=[1, NAN, 2, 3]), {}, "row 2: there is no user id"),
    "no id": (FRAME.with_columns(userId=None), {}, "row 1: there is no user id; leave the row out"),
    "float ids": (
        FRAME.with_columns(pl.col("userId").cast(pl.Float64)),
        {},
        "column 'userId' holds Float64, not integers or text; convert it, by .astype('int64')",
    ),
    "mixed": (([1, "a", 2, 3], ITEMS, VALUES), {}, "array 'users' mixes int (row 1) and str (row 2)"),
    "text ratings": (FRAME.with_columns(rating=pl.lit("4")), {}, "column 'rating' holds String, not numbers"),
    "NaN rating": ((USERS, ITEMS, np.array([1, NAN, 2, 3])), {}, "row 2: the rating nan is not a finite num"),
    "strength 0": ((USERS, ITEMS, [1, 0, 2, 3]), {"feedback": "implicit"}, "row 2: the strength 0.0 is not"),
    "pair again": (
        (["a", "b", "a"], [1, 1, 1], [1, 2, 3]),
        {},
        "row 3: user a rated item 1 on row 1 already; keep one of them, or set data.duplicates",
    ),
    "lengths": ((USERS, ITEMS, [1]), {}, "4 users, 4 items and 1 values; give as many of each"),
    "tuple of one": ((USERS,), {}, "a tuple of 1; give (users, items, values)"),
    "no values": ((USERS, ITEMS), {}, "two arrays are events (data.feedback: implicit)"),
    "no times": ((USERS, ITEMS, VALUES), {"test": {"by": "time"}}, "there are no times to split by"),
    "no weights": (sp.eye_array(3), {"columns": {"weight": "w"}}, "a matrix has no weights"),
    "blocks": (
        sp.bsr_array(np.array([[1.0, 0], [2, 3]]), blocksize=(2, 2)),
        {},
        "fills its blocks with zero",
    ),
    "one row": (sp.coo_array(np.array([1.0, 0, 2])), {}, "scipy.sparse.coo_array has 1 dimension"),
    "dense": (np.zeros((4, 5)), {}, "a numpy.ndarray of shape (4, 5) does not say which cells are ratings"),
    "tensor": (torch.zeros(3, 3), {}, "a torch.Tensor of shape (3, 3) does not say which cells are ratings"),
    "lists": (
        [[1, 2, 3.0]],
        {},
        "a list is no table; give a tuple of arrays (users, items, values), or, of a",
    ),
    "dict": ({"userId": USERS}, {}, "a dict is no table; give polars.DataFrame(ratings)"),
    "lazy": (FRAME.lazy(), {}, "a LazyFrame has no rows yet; give what collect() returns"),
    "series": (FRAME["userId"], {}, "a polars.Series is one column; give a table"),
    "generator": ((row for row in [1]), {}, "a generator can be read only once"),
    "nothing": (None, {}, "a NoneType is no table; give a polars or pandas DataFrame"),
}


@pytest.mark.parametrize(("table", "keys", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_table_is_refused_in_one_line(table: Any, keys: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as caught:
        prepared_arrays(table, **keys)
    message = str(caught.value)
    assert message.startswith("ratings: ")
    assert says in message
    assert "\n" not in message


def test_what_to_do_about_a_missing_column_is_said_of_a_file_and_a_table(tmp_path: Path) -> None:
    FRAME.rename({"userId": "who"}).write_csv(tmp_path / "r.csv")
    for ratings in (FRAME.rename({"userId": "who"}), tmp_path / "r.csv"):
        with pytest.raises(DataError, match=r"no column 'userId'.*; name it so$"):
            list(as_input(ratings, Advice("name it so")).tables(ColumnNames()))


class Broken:
    """A table that fails while it is read."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise RuntimeError("the connection\nwas closed")


def test_a_stream_that_breaks_says_what_its_library_says() -> None:
    with pytest.raises(DataError, match=r"^ratings: tests\.Broken cannot be read: the connection$"):
        as_table(Broken())
