"""Checksum a file in pieces, so that some of its rows can be checked without reading the rest."""

import mmap
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from cofi_dist.errors import RunError
from cofi_dist.files.reading import open_regular

PIECE = 2**18  # bytes, but for the last one, which may have fewer
DIGITS = 16  # of a piece's checksum, in hexadecimal


class PieceSums:
    """Hash what is written to a file."""

    def __init__(self) -> None:
        self._finished: list[str] = []
        self._hash, self._length = xxhash.xxh3_64(), 0

    def update(self, content: bytes | memoryview) -> None:
        """Hash the bytes that follow."""
        rest = memoryview(content).cast("B")
        while len(rest):
            some = rest[: PIECE - self._length]
            self._hash.update(some)
            self._length += len(some)
            rest = rest[len(some) :]
            if self._length == PIECE:
                self._finish()

    def _finish(self) -> None:
        self._finished.append(self._hash.hexdigest())
        self._hash, self._length = xxhash.xxh3_64(), 0

    def hexdigest(self) -> str:
        """Return the checksums of all pieces, one after the other; nothing can be added afterwards."""
        if self._length:
            self._finish()
        return "".join(self._finished)


class CheckedMap:
    """Map a file into memory, and compare each piece with its checksum when it is asked for first.

    Args:
        path: a regular file.
        sums: what `PieceSums.hexdigest` returned when it was written.

    Attributes:
        content: the file's bytes; they may be read once `require` has been called for them.
        sums: the argument.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ValueError: it is empty, or has more or fewer pieces.
    """

    def __init__(self, path: Path, sums: str) -> None:
        with open_regular(path) as opened:
            self.content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        if len(sums) != DIGITS * -(-len(self.content) // PIECE):
            raise ValueError("has another size than its checksums")
        self._path, self.sums = path, sums
        self._is_sound = np.zeros(len(sums) // DIGITS, np.bool_)

    def require(self, starts: NDArray[np.int64], length: int) -> None:
        """Check the pieces in which some bytes lie.

        Args:
            starts: of each run of bytes.
            length: of each run, at least 1.

        Raises:
            RunError: a piece is not what was written.
        """
        first, last = starts // PIECE, (starts + (length - 1)) // PIECE
        is_asked = np.zeros(len(self._is_sound) + 1, np.int64)  # +1 where runs begin, -1 behind their ends
        np.add.at(is_asked, first, 1)
        np.add.at(is_asked, last + 1, -1)
        pieces = np.flatnonzero((np.cumsum(is_asked[:-1]) > 0) & ~self._is_sound)
        for piece in pieces.tolist():
            self._check(piece)

    def _check(self, piece: int) -> None:
        with memoryview(self.content) as whole, whole[piece * PIECE : (piece + 1) * PIECE] as some:
            found = xxhash.xxh3_64(some).hexdigest()
        if found != self.sums[piece * DIGITS : (piece + 1) * DIGITS]:
            raise RunError(
                f"{self._path}: its content is not what was written: a checksum differs; copy it anew, or"
                " train again"
            )
        self._is_sound[piece] = True
