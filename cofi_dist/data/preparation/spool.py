"""Keep rows on disk and read them back in pieces, so that sorting needs bounded memory."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.preparation.npy_file import raw_bytes
from cofi_dist.files.written_file import checked_file
from cofi_dist.sharding.ranges import balanced_ranges

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
    stops = np.array([each.stop for each in ranges])
    for piece in pieces:
        spool_N = np.searchsorted(stops, piece[column], side="right")
        order = stable_order(spool_N)
        ends = np.cumsum(np.bincount(spool_N, minlength=len(spools)))
        for spool, rows in zip(spools, np.split(order, ends[:-1]), strict=True):
            if len(rows):
                spool.append({name: values[rows] for name, values in piece.items()})
    return spools


def stable_order(keys: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return a stable argsort; a radix sort, which is faster, if the keys span less than 2^16."""
    if (keys[1:] >= keys[:-1]).all():
        return np.arange(len(keys))
    if len(keys) and int(keys.max()) - int(keys.min()) < 2**16:
        keys = (keys - keys.min()).astype(np.uint16)
    return np.argsort(keys, kind="stable")
