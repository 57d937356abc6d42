"""Keep rows on disk and read them back in pieces, so that sorting needs bounded memory."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.preparation.npy_file import raw_bytes
from cofi_dist.files.written_file import checked_file
from cofi_dist.sharding.ranges import balanced_ranges
from cofi_dist.system.threads import ahead

RowBatch = dict[str, NDArray[Any]]  # some rows, as one array per column

PIECE_ROWS = 2**19  # larger arrays, of more than 32 MB, are returned to the system and cost page faults
SPOOL_ROWS = 2**20  # few enough to be sorted in memory


class Spool:
    """Keep rows on disk, in one raw file per column.

    Args:
        directory: the folder of the files, which is created here.
        dtypes: dtype of each column.
    """

    def __init__(self, directory: Path, dtypes: dict[str, Any]) -> None:
        directory.mkdir()
        self._directory, self._dtypes = directory, {name: np.dtype(kind) for name, kind in dtypes.items()}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def like(self, directory: Path) -> "Spool":
        """Create an empty spool with the same columns."""
        return Spool(directory, self._dtypes)

    def append(self, rows: RowBatch) -> None:
        """Add rows; `rows` has every column of the spool, and may have others."""
        for name, dtype in self._dtypes.items():
            # opened anew each time: there may be more spools than files that may be open at once
            with checked_file(self._directory / name, append=True, to_disk=False) as file:
                file.write(raw_bytes(rows[name], dtype))
        self._length += len(rows[next(iter(self._dtypes))])

    def pieces(self, piece_rows: int | None = None) -> Iterator[RowBatch]:
        """Yield all rows in order, at most `piece_rows` (by default PIECE_ROWS) at a time."""
        piece_rows = piece_rows or PIECE_ROWS
        if not self._length:
            return
        with ExitStack() as stack:
            files = {n: stack.enter_context((self._directory / n).open("rb")) for n in self._dtypes}
            for start in range(0, self._length, piece_rows):
                count = min(piece_rows, self._length - start)
                yield {name: _read_values(files[name], dtype, count) for name, dtype in self._dtypes.items()}

    def whole(self) -> RowBatch:
        """Return all rows at once."""
        empty: RowBatch = {name: np.empty(0, dtype) for name, dtype in self._dtypes.items()}
        return next(self.pieces(max(1, self._length)), empty)

    def remove(self) -> None:
        """Delete the files and their folder."""
        for name in self._dtypes:
            (self._directory / name).unlink(missing_ok=True)
        self._directory.rmdir()


def _read_values(file: BinaryIO, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Read the next values of a raw file; `np.fromfile` would take an error for the end of the file."""
    values = np.empty(count, dtype)
    if file.readinto(values.data.cast("B")) != values.nbytes:  # type: ignore[attr-defined]
        raise OSError(errno.EIO, f"{file.name}: is shorter than what was written into it")
    return values


def spools_by_range(
    pieces: Iterable[RowBatch],
    dtypes: dict[str, Any],
    column: str,
    counts: NDArray[np.int64],
    directory: Path,
) -> list[Spool]:
    """Distribute rows over spools of consecutive values of a column; rows of a spool keep their order.

    Args:
        pieces: the rows.
        dtypes: dtype of each column.
        column: name of the column by which the rows are distributed.
        counts: number of rows of each value of that column, from 0; a spool gets about SPOOL_ROWS.
        directory: where the spools are created.
    """
    ranges = balanced_ranges(counts, max(1, round(int(counts.sum()) / SPOOL_ROWS)))
    spools = [Spool(directory / f"{column}{k}", dtypes) for k in range(len(ranges))]
    spool_of = np.repeat(
        np.arange(len(ranges), dtype=np.min_scalar_type(len(ranges))), [len(each) for each in ranges]
    )
    by_spool = partial(_by_spool, column=column, spool_of=spool_of)
    for rows, ends in ahead(by_spool, pieces):
        for spool, start, stop in zip(spools, [0, *ends], ends, strict=False):
            if start < stop:
                spool.append({name: values[start:stop] for name, values in rows.items()})
    return spools


def _by_spool(
    rows: RowBatch, column: str, spool_of: NDArray[np.unsignedinteger]
) -> tuple[RowBatch, list[int]]:
    """Sort rows by their spools, as a column decides; also return where those of each spool end."""
    spool_N = spool_of[rows[column]]
    ends = np.cumsum(np.bincount(spool_N)).tolist()
    if (spool_N[1:] < spool_N[:-1]).any():
        order = stable_order(spool_N)
        rows = {name: values[order] for name, values in rows.items()}
    return rows, ends


def stable_order(keys: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return a stable argsort."""
    lowest = int(keys.min(initial=np.iinfo(keys.dtype).max))
    span, row_bits = int(keys.max(initial=lowest)) - lowest, len(keys).bit_length()
    if span < 2**16:  # numpy has a radix sort of so few bits
        return np.argsort((keys - lowest).astype(np.min_scalar_type(span)), kind="stable")
    if span.bit_length() + row_bits >= 63:
        return np.argsort(keys, kind="stable")
    # numpy sorts numbers several times faster than it finds their order
    keyed_rows = keys.astype(np.int64)
    keyed_rows -= lowest
    keyed_rows <<= row_bits
    keyed_rows |= np.arange(len(keys))
    keyed_rows.sort()
    keyed_rows &= (1 << row_bits) - 1
    return keyed_rows
