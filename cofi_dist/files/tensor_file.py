"""Write arrays to a safetensors file, hashing them on the way, and map such a file into memory.

The library's own `save_file` first copies each tensor into a bytes object, which takes three times as long as
writing it. Checkpoints are written while training goes on with the same cores, so no second copy is made and
nothing is read again. For the same reason the checksum is a fast one; it detects truncated and damaged files.
"""

import json
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xxhash
from numpy.typing import NDArray

from cofi_dist.files.piece_sums import PieceSums
from cofi_dist.files.reading import open_regular
from cofi_dist.files.tensor_header import TensorInfo
from cofi_dist.files.written_file import WrittenFile, finish_on_exit

DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "F64": np.dtype(np.float64)}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
SLICE = 2**20  # bytes that are written and then hashed while they are still in the cache
BLOCK = 2**26  # bytes of rows that are read at a time


class Tensor(Protocol):
    """Offer what is written of a tensor: an array does, or rows that are only read when asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[np.floating]: ...


def write_tensors(
    file: Path | WrittenFile,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, str] | None = None,
    sums: PieceSums | None = None,
) -> tuple[int, str]:
    """Write tensors to a file and flush it; return its size in bytes and its 128-bit XXH3 checksum.

    Tensors of the wider type come first, so that all of them are aligned.

    Args:
        file: a path, which is created or overwritten in place, but not through a link; or an open file, which
            the caller finishes.
        tensors: of float32 or float64, with rows; contiguous, or they are copied block by block.
        metadata: texts to store with them.
        sums: gets all that is written, if the file's pieces are to have checksums of their own.

    Raises:
        OSError: the file cannot be written.
    """
    if isinstance(file, WrittenFile):
        return _write(file, tensors, metadata, sums)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    opened = WrittenFile(os.fdopen(descriptor, "wb"))
    with finish_on_exit(opened):
        size, digest = _write(opened, tensors, metadata, sums)
        os.ftruncate(descriptor, size)
    return size, digest


def _write(
    file: WrittenFile,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, str] | None,
    sums: PieceSums | None,
) -> tuple[int, str]:
    tensors = dict(sorted(tensors.items(), key=lambda named: -named[1].dtype.itemsize))
    about: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    size = 0
    for name, tensor in tensors.items():
        end = size + _size_of(tensor)
        about[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [size, end],
        }
        size = end
    text = json.dumps(about).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned to 8 bytes
    header = len(text).to_bytes(8, "little") + text
    digest = xxhash.xxh3_128()
    for numbers in chain([memoryview(header)], *map(_bytes_of, tensors.values())):
        for at in range(0, len(numbers), SLICE):
            some = numbers[at : at + SLICE]
            file.write(some)
            digest.update(some)
            if sums is not None:
                sums.update(some)
    return len(header) + size, digest.hexdigest()


def _bytes_of(tensor: Tensor) -> Iterator[memoryview]:
    """Yield the bytes of a tensor, block by block."""
    at_once = max(1, BLOCK * len(tensor) // max(_size_of(tensor), 1))
    for start in range(0, len(tensor), at_once):
        block = np.ascontiguousarray(tensor[start : start + at_once])
        if block.size:
            yield block.data.cast("B")


def _size_of(tensor: Tensor) -> int:
    """Return the bytes of a tensor."""
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def map_tensors(file: Path, table: Mapping[str, TensorInfo]) -> dict[str, NDArray[np.floating]]:
    """Return the arrays of a file by name, mapped into memory; what is written to them stays in this process.

    Args:
        file: a regular file.
        table: what `read_header` returned of it.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ValueError: it has become shorter.
    """
    with open_regular(file) as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
    arrays = {}
    for name, about in table.items():
        flat = np.frombuffer(mapped, DTYPES[about.dtype], math.prod(about.shape), about.start)
        arrays[name] = np.require(flat.reshape(about.shape), requirements="A")  # other programs may not align
    return arrays
