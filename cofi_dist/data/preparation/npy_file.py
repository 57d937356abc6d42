"""Write .npy files of one dimension as they grow, and map them after their header was checked."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.files.reading import open_regular
from cofi_dist.files.written_file import WrittenFile

PIECE_VALUES = 2**20  # that are converted at a time
MAGIC = b"\x93NUMPY\x01\x00"  # of version 1, which numpy writes unless a header is very long
# Checked by ourselves: numpy's own reader evaluates any Python literal.
HEADER = re.compile(
    rb"{'descr': '([^']{1,16})', 'fortran_order': (?:False|True), 'shape': \((\d{1,18}),\), } *\n?"
)


class NpyWriter:
    """Write a .npy file of one dimension that grows.

    Args:
        path: the file.
        dtype: type of its values.
    """

    def __init__(self, path: Path, dtype: Any) -> None:
        self._path = path
        self._begin(np.dtype(dtype))

    def append(self, values: NDArray[Any]) -> None:
        """Add values at the end."""
        self._file.write(raw_bytes(values, self._dtype))
        self._length += len(values)

    def widen(self, dtype: Any) -> None:
        """Write what was written so far anew, as values of a type that holds all of them."""
        narrow = self._path.with_suffix(".narrow")
        self._end(to_disk=False)
        self._path.rename(narrow)
        values = map_array(narrow, self._length, self._dtype.type)
        self._begin(np.dtype(dtype))
        for start in range(0, len(values), PIECE_VALUES):
            self.append(values[start : start + PIECE_VALUES])
        narrow.unlink()

    def finish(self) -> None:
        """Write the final length into the header, in which numpy leaves room for it."""
        self._end(to_disk=True)

    def close(self) -> None:
        """Close the file as it is; nothing happens if it is finished."""
        self._file.close()

    def _begin(self, dtype: np.dtype[Any]) -> None:
        self._dtype, self._length = dtype, 0
        self._file = WrittenFile(self._path.open("wb"))
        self._write_header()

    def _end(self, *, to_disk: bool) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.finish(to_disk=to_disk)

    def _write_header(self) -> None:
        shape = {"shape": (self._length,), "fortran_order": False, "descr": self._dtype.str}
        np.lib.format.write_array_header_1_0(self._file, shape)


def raw_bytes(values: NDArray[Any], dtype: np.dtype[Any]) -> memoryview:
    """Return the bytes of an array as a file holds them; `tofile` would hide the error of its last write."""
    return np.ascontiguousarray(values, dtype).data.cast("B") if len(values) else memoryview(b"")


def map_array(path: Path, length: int, *dtypes: type[np.number[Any]]) -> NDArray[Any]:
    """Map the array of a .npy file; only its header is read.

    Args:
        path: the file.
        length: the length that the array must have.
        dtypes: the types that it may have.

    Raises:
        OSError: the file cannot be read, or is not a regular one.
        ValueError: it does not hold such an array, or not all of it; the message says so in plain words.
    """
    with open_regular(path) as file:
        start = file.read(len(MAGIC) + 2)
        header_bytes = int.from_bytes(start[len(MAGIC) :], "little")
        header = HEADER.fullmatch(file.read(header_bytes))
        if not start.startswith(MAGIC) or header is None:
            raise ValueError("is no .npy array of one dimension, as numpy writes it")
        descr, found_length = header[1].decode("latin-1"), int(header[2])
        dtype = next((np.dtype(each) for each in dtypes if np.dtype(each).str == descr), None)
        if dtype is None:
            wanted = " or ".join(np.dtype(each).name for each in dtypes)
            raise ValueError(f"holds numbers of type {descr!r}, not {wanted}")
        if found_length != length:
            raise ValueError(f"holds {found_length:,} numbers, not {length:,}")
        offset, size = file.tell(), file.seek(0, 2)
        if size != offset + length * dtype.itemsize:
            raise ValueError(
                f"has {size:,} bytes, not {offset + length * dtype.itemsize:,}: it was cut off or changed"
            )
        if not length:  # an empty range cannot be mapped
            return np.empty(0, dtype)
        return np.memmap(file, dtype, "r", offset, (length,))
