"""Encoder: gives the ids of a stream of tables consecutive numbers."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.data.id_spelling import DistinctIds
from cofi_dist.data.ratings import MOST_ROWS
from cofi_dist.errors import DataError

TABLE = 2**23  # ids below it are looked up in an array of 32 MB


class Encoder:
    """Numbers the ids of a stream of tables in the order in which they first appear.

    Ids are integers as long as all of them are; the first text among them makes text of all.
    """

    def __init__(self) -> None:
        self._known = pl.Series("id", [], dtype=pl.Int64)
        self._code_of = np.empty(0, np.int32)  # of small whole numbers, which is what most ids are
        self._counts, self._first = np.empty(0, np.int64), np.empty(0, np.int64)
        self._rows = 0

    def codes(self, raw: pl.Series) -> NDArray[np.int32]:
        """The number of each id, (N,); new ids get the next ones.

        Args:
            raw: N ids, Int64 or String, none null.
        """
        if raw.dtype != self._known.dtype:
            self._known, raw = self._known.cast(pl.String), raw.cast(pl.String)
        codes = self._find(raw)
        new = codes < 0
        if new.any():
            unknown = raw.filter(new)
            once = unknown.arg_unique()
            self._known = pl.concat([self._known, unknown[once].alias("id")])
            if len(self._known) > MOST_ROWS:
                raise DataError(f"more than {MOST_ROWS:,} different ids; this is beyond what we can number")
            self._first = np.append(self._first, self._rows + np.flatnonzero(new)[once.to_numpy()])
            self._code_of = np.empty(0, np.int32)
            codes[new] = self._find(unknown)
        counts = np.bincount(codes, minlength=len(self._known))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self._rows += len(codes)
        return codes

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each number was given, (ids,)."""
        return self._counts

    @property
    def distinct(self) -> DistinctIds:
        """The ids in the order of their numbers."""
        return DistinctIds(self._known, self._counts, self._first)

    def _find(self, raw: pl.Series) -> NDArray[np.int32]:
        """The number of each id; -1 where it has none yet."""
        small = raw.dtype == pl.Int64 and len(raw) and raw.min() >= 0 and raw.max() < TABLE  # type: ignore[operator]
        if small:
            if not len(self._code_of):
                known = self._known.to_numpy()
                tabled = (known >= 0) & (known < TABLE)
                self._code_of = np.full(TABLE, -1, np.int32)
                self._code_of[known[tabled]] = np.flatnonzero(tabled)
            codes: NDArray[np.int32] = self._code_of[raw.to_numpy()]
            return codes
        table = self._known.to_frame().with_row_index("code")
        found = raw.to_frame("id").join(table, on="id", how="left", maintain_order="left")["code"]
        numbers: NDArray[np.int32] = found.cast(pl.Int32).fill_null(-1).to_numpy()
        return numbers.copy()  # polars' own memory is not to be written to

    def ranked(self) -> tuple[pl.Series, NDArray[np.int32]]:
        """The ids in ascending order, and the place in it of each number, (ids,)."""
        order = self._known.arg_sort().to_numpy()
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return self._known[order].alias("id"), rank
