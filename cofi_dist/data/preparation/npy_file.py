"""Arrays of one dimension in .npy files, as numpy writes them; headers are checked, nothing unpickled."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.files.reading import open_regular

MAGIC = b"\x93NUMPY\x01\x00"  # of version 1, which numpy writes unless a header is very long
# numpy's own reader takes whatever Python takes for a literal
HEADER = re.compile(
    rb"{'descr': '([^']{1,16})', 'fortran_order': (?:False|True), 'shape': \((\d{1,18}),\), } *\n?"
)


def map_array(path: Path, length: int, *kinds: type[np.number[Any]]) -> NDArray[Any]:
    """Map the array of a file; nothing but its header is read.

    Args:
        path: the file.
        length: that the array must have.
        kinds: it must be of one of these.

    Raises:
        OSError: the file can't be read, or is no regular one.
        ValueError: in plain words: it does not hold such an array, or not all of it.
    """
    with open_regular(path) as file:
        start = file.read(len(MAGIC) + 2)
        room = int.from_bytes(start[len(MAGIC) :], "little")
        header = HEADER.fullmatch(file.read(room))
        if not start.startswith(MAGIC) or header is None:
            raise ValueError("is no .npy array of one dimension, as numpy writes it")
        descr, rows = header[1].decode("latin-1"), int(header[2])
        kind = next((np.dtype(kind) for kind in kinds if np.dtype(kind).str == descr), None)
        if kind is None:
            wanted = " or ".join(np.dtype(kind).name for kind in kinds)
            raise ValueError(f"holds numbers of type {descr!r}, not {wanted}")
        if rows != length:
            raise ValueError(f"holds {rows:,} numbers, not {length:,}")
        offset, size = file.tell(), file.seek(0, 2)
        if size != offset + rows * kind.itemsize:
            raise ValueError(
                f"has {size:,} bytes, not {offset + rows * kind.itemsize:,}: it was cut off or changed"
            )
        if not rows:  # nothing can't be mapped
            return np.empty(0, kind)
        return np.memmap(file, kind, "r", offset, (rows,))
