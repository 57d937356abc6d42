"""Ratings file -> (user, item, value) triples and their id maps; every bad line is named.

Polars reads and checks the whole file at once. Only when a check fails, `faults` reads the file
again, line by line, to say which line it was.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.data.faults import BLANKS, NUMBER, Layout, first_fault
from cofi_dist.data.ids import IdMap, encode
from cofi_dist.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".dat": "::"}


@dataclass(frozen=True)
class Ratings:
    """N ratings in user order, then item order; no (user, item) pair twice.

    Attributes:
        user: row of W, (N,) int32; rows count from the first user of the range loaded.
        item: row of X, (N,) int32.
        value: rating, (N,) float64.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.value)


def read_ratings(path: Path, columns: tuple[str, str, str]) -> tuple[Ratings, IdMap, IdMap]:
    """Read .csv, .tsv (with a header), .dat (`user::item::rating[::timestamp]`) or .parquet.

    Args:
        path: the file.
        columns: names of the user, item and rating columns; .dat goes by position.

    Returns:
        All ratings, the users' ids and the items' ids.

    Raises:
        DataError: the file, its line (row, for Parquet) and what is wrong with it.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix == ".parquet":
        triples, layout = _read_parquet(path, columns), None
    elif path.suffix in SEPARATORS:
        layout = Layout(SEPARATORS[path.suffix], None if path.suffix == ".dat" else columns)
        triples = _read_text(path, layout)
    else:
        raise DataError(f"{path}: unknown kind of file; use .csv, .tsv, .dat or .parquet")
    if triples.is_empty():
        raise DataError(f"{path}: holds no ratings")
    bad = triples.with_row_index("row").filter(
        pl.any_horizontal(
            *(_is_bad_id(pl.col(column).cast(pl.String)) for column in ("user", "item")),
            pl.col("value").is_null() | ~pl.col("value").is_finite(),
        )
    )
    if not bad.is_empty():
        raise _fault(path, layout, int(bad["row"][0]), "an empty id, or a rating that is no finite number")
    return _encode(path, layout, triples)


def _is_bad_id(raw: pl.Expr) -> pl.Expr:
    return raw.is_null() | (raw == "") | (raw != raw.str.strip_chars(BLANKS))


def _encode(path: Path, layout: Layout | None, triples: pl.DataFrame) -> tuple[Ratings, IdMap, IdMap]:
    users, user = encode(triples["user"])
    items, item = encode(triples["item"])
    pair = user.to_numpy().astype(np.int64) * len(items) + item.to_numpy()
    order = np.argsort(pair, kind="stable")
    again = np.flatnonzero(np.diff(pair[order]) == 0)
    if len(again):
        raise _fault(path, layout, int(order[again + 1].min()), "this user rated this item before")
    ratings = Ratings(
        user.to_numpy()[order].astype(np.int32),
        item.to_numpy()[order].astype(np.int32),
        triples["value"].to_numpy()[order],
    )
    return ratings, users, items


def _fault(path: Path, layout: Layout | None, row: int, what: str) -> DataError:
    """The fault's own line, found by reading line by line; a row of a Parquet file as it is."""
    if layout is None:
        return DataError(f"{path}: row {row + 1}: {what}")
    return DataError(f"{path}: {first_fault(path, layout) or f'rating {row + 1}: {what}'}")


def _read_text(path: Path, layout: Layout) -> pl.DataFrame:
    """Columns user, item (text) and value (null where it is no number)."""
    try:
        table = pl.read_csv(
            path,
            separator=layout.separator[0],
            has_header=layout.columns is not None,
            infer_schema=False,
            quote_char='"' if layout.columns else None,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: {first_fault(path, layout) or f'cannot be read: {error}'}") from None
    # blank lines hold no rating
    table = table.filter(~pl.all_horizontal(pl.all().is_null()))
    suspicious = False
    if layout.columns is None:
        # `::` read as `:` leaves an empty column between every two
        between, table = table[:, 1::2], table[:, ::2]
        suspicious = any(column.null_count() < len(column) for column in between)
    names = layout.columns or tuple(table.columns[:3])
    absent = len(names) < 3 or not set(names) <= set(table.columns)
    # polars renames a column whose name stands twice
    suspicious |= any(f"{name}_duplicated_0" in table.columns for name in names)
    if suspicious or absent or any(column.null_count() for column in table):
        found = first_fault(path, layout)
        if found or absent:
            raise DataError(f"{path}: {found or 'has no user, item and rating columns'}")
    user, item, rating = names
    number = pl.when(pl.col(rating).str.contains(f"^{NUMBER}$")).then(pl.col(rating))
    return table.select(user=pl.col(user), item=pl.col(item), value=number.cast(pl.Float64, strict=False))


def _read_parquet(path: Path, columns: tuple[str, str, str]) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
    for name, is_rating in zip(columns, (False, False, True), strict=True):
        if name not in table.columns:
            have = ", ".join(table.columns)
            raise DataError(f"{path}: no column {name!r}; it has {have}; set data.columns")
        kind = table[name].dtype
        if not (kind.is_numeric() if is_rating else kind.is_integer() or kind == pl.String):
            need = "numbers" if is_rating else "integers or text"
            raise DataError(f"{path}: column {name!r} holds {kind}, not {need}")
    user, item, rating = columns
    return table.select(user=pl.col(user), item=pl.col(item), value=pl.col(rating).cast(pl.Float64))
