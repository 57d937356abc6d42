"""RowBatch on disk, appended to and read back in pieces, so that sorting needs bounded memory."""

import errno
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cofi_dist.files.written_file import WrittenFile, checked_file
from cofi_dist.sharding.ranges import balanced_ranges

RowBatch = dict[str, NDArray[Any]]

PIECE_ROWS = 2**19  # arrays of more than 32 MB are given back to the system, and cost page faults
SPOOL_ROWS = 2**20  # sorted at once


class Spool:
    """RowBatch of equal length, a raw file each.

    Args:
        directory: made here.
        kinds: dtype of each column.
    """

    def __init__(self, directory: Path, kinds: dict[str, Any]) -> None:
        directory.mkdir()
        self._directory, self._kinds = directory, {name: np.dtype(kind) for name, kind in kinds.items()}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def like(self, directory: Path) -> "Spool":
        """An empty one with the same columns."""
        return Spool(directory, self._kinds)

    def append(self, columns: RowBatch) -> None:
        """Add rows; every column of the spool is in `columns`."""
        for name, kind in self._kinds.items():
            # opened anew each time: of many spools, few files may be open at once
            with checked_file(self._directory / name, append=True, to_disk=False) as file:
                file.write(_bytes_of(columns[name], kind))
        self._length += len(columns[next(iter(self._kinds))])

    def pieces(self, rows: int | None = None) -> Iterator[RowBatch]:
        """All rows in order, at most `rows` (PIECE_ROWS) at a time."""
        rows = rows or PIECE_ROWS
        if not self._length:
            return
        with ExitStack() as stack:
            files = {n: stack.enter_context((self._directory / n).open("rb")) for n in self._kinds}
            for at in range(0, self._length, rows):
                count = min(rows, self._length - at)
                yield {name: _read(files[name], kind, count) for name, kind in self._kinds.items()}

    def whole(self) -> RowBatch:
        """All rows at once."""
        empty: RowBatch = {name: np.empty(0, kind) for name, kind in self._kinds.items()}
        return next(self.pieces(max(1, self._length)), empty)

    def remove(self) -> None:
        """Delete the files."""
        for name in self._kinds:
            (self._directory / name).unlink(missing_ok=True)
        self._directory.rmdir()


class NpyWriter:
    """A .npy file of one dimension that grows.

    Args:
        path: the file.
        kind: its dtype.
    """

    def __init__(self, path: Path, kind: Any) -> None:
        self._kind, self._length = np.dtype(kind), 0
        self._file = WrittenFile(path.open("wb"))
        self._header()

    def append(self, values: NDArray[Any]) -> None:
        """Add values at the end."""
        self._file.write(_bytes_of(values, self._kind))
        self._length += len(values)

    def close(self) -> None:
        """Write the final length into the header, for which numpy leaves room."""
        self._file.seek(0)
        self._header()
        self._file.finish()

    def _header(self) -> None:
        shape = {"shape": (self._length,), "fortran_order": False, "descr": self._kind.str}
        np.lib.format.write_array_header_1_0(self._file, shape)


def _bytes_of(values: NDArray[Any], kind: np.dtype[Any]) -> memoryview:
    """The bytes of an array in a file; `tofile` would drop the error of its last write."""
    return np.ascontiguousarray(values, kind).data.cast("B") if len(values) else memoryview(b"")


def _read(file: BinaryIO, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    """The next values of a raw file; `fromfile` would take an error for the end of it."""
    values = np.empty(count, kind)
    if file.readinto(values.data.cast("B")) != values.nbytes:  # type: ignore[attr-defined]
        raise OSError(errno.EIO, f"{file.name}: is shorter than what was written into it")
    return values


def by_range(
    pieces: Iterable[RowBatch], kinds: dict[str, Any], column: str, counts: NDArray[np.int64], directory: Path
) -> list[Spool]:
    """Spread rows over spools of consecutive values of a column; the order within each is kept.

    Args:
        pieces: the rows.
        kinds: dtype of each column.
        column: which one.
        counts: rows of each of its values, from 0; a spool gets about SPOOL_ROWS.
        directory: where to make the spools.
    """
    ranges = balanced_ranges(counts, max(1, round(int(counts.sum()) / SPOOL_ROWS)))
    spools = [Spool(directory / f"{column}{k}", kinds) for k in range(len(ranges))]
    stops = np.array([r.stop for r in ranges])
    for piece in pieces:
        spool_N = np.searchsorted(stops, piece[column], side="right")
        order = stable_order(spool_N)
        ends = np.cumsum(np.bincount(spool_N, minlength=len(spools)))
        for spool, rows in zip(spools, np.split(order, ends[:-1]), strict=True):
            if len(rows):
                spool.append({name: values[rows] for name, values in piece.items()})
    return spools


def stable_order(keys: NDArray[np.integer]) -> NDArray[np.intp]:
    """Argsort that keeps the order of equal keys; by radix where the keys' span is small."""
    if (keys[1:] >= keys[:-1]).all():
        return np.arange(len(keys))
    if len(keys) and int(keys.max()) - int(keys.min()) < 2**16:
        keys = (keys - keys.min()).astype(np.uint16)
    return np.argsort(keys, kind="stable")
