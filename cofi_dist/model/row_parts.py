"""Offer the rows of a matrix that lies in several files as an array's, and read only the rows asked for."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import DTypeLike, NDArray

from cofi_dist.files.piece_sums import CheckedMap

# N rows that are asked for.

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class RowPart:
    """Hold rows of a matrix that follow one another, mapped into memory.

    Attributes:
        start: the first one's place in the matrix.
        rows: of the part, (n, ...); they may be read once the file has been asked for their bytes.
        file: in which they lie.
        offset: the first one's byte in the file.
    """

    start: int
    rows: Floats
    file: CheckedMap
    offset: int

    def take(self, rows: NDArray[np.int64]) -> Floats:
        """Return a copy of some rows of the part, (N, ...).

        Raises:
            RunError: the file is damaged where they lie.
        """
        self._require(rows, 1)
        return self.rows[rows]

    def slice(self, start: int, stop: int) -> Floats:
        """Return rows of the part that follow one another, at least one; nothing is copied.

        Raises:
            RunError: as `take`.
        """
        self._require(np.array([start]), stop - start)
        return self.rows[start:stop]

    def _require(self, starts: NDArray[np.int64], length: int) -> None:
        size = self.rows.strides[0]
        self.file.require(self.offset + starts * size, length * size)


class RowParts:
    """Behave like an array of rows where rows are taken from it; `numpy.asarray` makes one array of it.

    What is read is compared with its checksum before. Nothing can be written to it.

    Args:
        parts: at least one, in the order of their rows, which they hold all.
    """

    def __init__(self, parts: Sequence[RowPart]) -> None:
        self._parts, first = tuple(parts), parts[0].rows
        self._starts = np.array([part.start for part in parts])
        length = parts[-1].start + len(parts[-1].rows)
        self.shape: tuple[int, ...] = (length, *first.shape[1:])
        self.dtype = first.dtype

    def __repr__(self) -> str:
        return f"RowParts({self.shape}, {self.dtype}, of {len(self._parts)})"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | NDArray[np.integer]) -> Any:
        """Return a row; rows that follow one another; or any rows, in their order.

        Raises:
            RunError: a file is damaged where they lie.
            IndexError: there is no such row.
        """
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                return self._gather(np.arange(start, stop, step))
            return self._between(start, stop)
        wanted = np.asarray(rows)
        if wanted.ndim == 0:
            return self._gather(wanted[None])[0]
        return self._gather(wanted)

    def _between(self, start: int, stop: int) -> Floats:
        pieces = []
        for part in self._parts:
            first, last = max(start - part.start, 0), min(stop - part.start, len(part.rows))
            if first < last:
                pieces.append(part.slice(first, last))
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty((0, *self.shape[1:]), self.dtype)

    def _gather(self, rows: NDArray[np.integer]) -> Floats:
        wanted = np.where(rows < 0, rows + len(self), rows).astype(np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"a row is not among {len(self)}")
        place = np.searchsorted(self._starts, wanted, side="right") - 1
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for number in np.unique(place).tolist():
            part, is_here = self._parts[number], place == number
            found[is_here] = part.take(wanted[is_here] - part.start)
        return found

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows in one array, which is written part by part."""
        if copy is False:
            raise ValueError("rows in parts cannot be one array without being copied")
        whole = np.empty(self.shape, dtype or self.dtype)
        for part in self._parts:
            whole[part.start : part.start + len(part.rows)] = part.slice(0, len(part.rows))
        return whole

    @property
    def checksums(self) -> str:
        """Return a digest of the parts' checksums: equal for the same parts."""
        digest = xxhash.xxh3_128()
        for part in self._parts:
            digest.update(f"{part.start} {part.offset} {part.file.sums} ".encode())
        return digest.hexdigest()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle it as one array."""
        return np.asarray, (np.asarray(self),)


Rows = Floats | RowParts  # of X, or of W
BLOCK_BYTES = 2**26  # of rows that are read at a time


def blocks_of(rows: Rows, start: int = 0, stop: int | None = None) -> Iterator[tuple[slice, Floats]]:
    """Yield the rows from `start` to `stop`, or all, block by block, each with its place in the matrix."""
    stop = len(rows) if stop is None else stop
    row_bytes = math.prod(rows.shape[1:]) * rows.dtype.itemsize
    at_once = max(1, BLOCK_BYTES // max(row_bytes, 1))
    for first in range(start, stop, at_once):
        some = slice(first, min(first + at_once, stop))
        yield some, rows[some]
