"""Give the ids of a stream of tables consecutive codes."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.data.id_spelling import DistinctIds
from cofi_dist.data.ratings import MOST_ROWS
from cofi_dist.errors import DataError

LOOKUP_SIZE = 2**23  # ids below it are looked up in an array of at most 32 MB


class Encoder:
    """Number the ids of a stream of tables in the order in which they first appear.

    Ids stay integers as long as all of them are integers. The first text among them turns all into text.
    """

    def __init__(self) -> None:
        self._known = pl.Series("id", [], dtype=pl.Int64)
        self._lookup = np.empty(0, np.int32)  # code of each small integer, -1 for none; grows as needed
        self._counts, self._first_rows = np.empty(0, np.int64), np.empty(0, np.int64)
        self._num_rows = 0

    def codes(self, raw: pl.Series) -> NDArray[np.int32]:
        """Return the code of each id, (N,); new ids get the next codes.

        Args:
            raw: N ids, Int64 or String, none null.

        Raises:
            DataError: there are more distinct ids than can be numbered.
        """
        if raw.dtype != self._known.dtype:
            self._known, raw = self._known.cast(pl.String), raw.cast(pl.String)
        is_small = bool(raw.dtype == pl.Int64 and len(raw) and raw.min() >= 0 and raw.max() < LOOKUP_SIZE)  # type: ignore[operator]
        codes = self._codes_of_small(raw.to_numpy()) if is_small else self._codes_of_any(raw)
        counts = np.bincount(codes, minlength=len(self._known))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self._num_rows += len(codes)
        return codes

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return the number of rows of each code, (codes,)."""
        return self._counts

    @property
    def distinct(self) -> DistinctIds:
        """Return the ids in the order of their codes."""
        return DistinctIds(self._known, self._counts, self._first_rows)

    def ranked(self) -> tuple[pl.Series, NDArray[np.int32]]:
        """Return the ids in ascending order, and the position of each code in that order, (codes,)."""
        order = self._known.arg_sort().to_numpy()
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return self._known[order].alias("id"), rank

    def _codes_of_small(self, raw: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the codes of integers that may be looked up; new ones get codes."""
        self._grow_lookup(int(raw.max()) + 1)
        codes = self._lookup[raw]
        if codes.min() < 0:
            is_new = codes < 0
            new, place = raw[is_new], np.arange(np.count_nonzero(is_new), dtype=np.int32)
            # written backwards, so that what stays of an id is its first place
            self._lookup[new[::-1]] = place[::-1]
            first = np.flatnonzero(self._lookup[new] == place)
            self._append(pl.Series(new[first]), np.flatnonzero(is_new)[first])
            codes = self._lookup[raw]
        return codes

    def _codes_of_any(self, raw: pl.Series) -> NDArray[np.int32]:
        """Return the codes of integers or text; new ones get codes."""
        codes = self._joined(raw)
        is_new = codes < 0
        if is_new.any():
            new = raw.filter(is_new)
            first = new.arg_unique()
            self._append(new[first], np.flatnonzero(is_new)[first.to_numpy()])
            codes[is_new] = self._joined(new)
        return codes

    def _append(self, new: pl.Series, places: NDArray[np.int64]) -> None:
        """Give new ids the next codes; `places` are their first rows in the table."""
        start = len(self._known)
        self._known = pl.concat([self._known, new.alias("id")])
        if len(self._known) > MOST_ROWS:
            raise DataError(f"more than {MOST_ROWS:,} different ids; this is beyond what we can number")
        self._first_rows = np.append(self._first_rows, self._num_rows + places)
        if new.dtype == pl.Int64:
            numbers = new.to_numpy()
            is_small = (numbers >= 0) & (numbers < LOOKUP_SIZE)
            self._grow_lookup(int(numbers.max(where=is_small, initial=-1)) + 1)
            self._lookup[numbers[is_small]] = start + np.flatnonzero(is_small)

    def _grow_lookup(self, size: int) -> None:
        if size > len(self._lookup):
            larger = np.full(max(size, min(2 * len(self._lookup), LOOKUP_SIZE)), -1, np.int32)
            larger[: len(self._lookup)] = self._lookup
            self._lookup = larger

    def _joined(self, raw: pl.Series) -> NDArray[np.int32]:
        """Return the code of each id; -1 for an id without one."""
        table = self._known.to_frame().with_row_index("code")
        found = raw.to_frame("id").join(table, on="id", how="left", maintain_order="left")["code"]
        joined: NDArray[np.int32] = found.cast(pl.Int32).fill_null(-1).to_numpy()
        return joined.copy()  # polars' own memory is read-only
