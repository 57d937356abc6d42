"""Tensors to a safetensors file, hashed on the way: no second copy in memory, no second reading.

safetensors' own `save_file` copies every tensor into a bytes object first, which takes three times as
long as writing them; this work shares its cores with the steps, which is also why the checksum is a fast
one: it is there to find what was cut off or decayed. The library reads what is written here.
"""

import json
import os
from pathlib import Path

import torch
import xxhash
from torch import Tensor

from cofi_dist.files.written_file import WrittenFile, finish_on_exit

DTYPES = {torch.float32: "F32", torch.float64: "F64"}
SLICE = 2**20  # bytes hashed while they are still in the cache that they were written from


def write_tensors(
    file: Path | WrittenFile, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> tuple[int, str]:
    """Write tensors, those of the wider type first, so that all are aligned, and sync the file.

    Args:
        file: is made new, or written over in place, not through a link; or is open already, and finished by
            whoever opened it.
        tensors: contiguous, on the CPU, float32 or float64.
        metadata: texts to go with them.

    Returns:
        The file's size in bytes, and its XXH3 of 128 bits.

    Raises:
        OSError: it can't be written.
    """
    if isinstance(file, WrittenFile):
        return _write(file, tensors, metadata)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    opened = WrittenFile(os.fdopen(descriptor, "wb"))
    with finish_on_exit(opened):
        size, digest = _write(opened, tensors, metadata)
        os.ftruncate(descriptor, size)
    return size, digest


def _write(file: WrittenFile, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> tuple[int, str]:
    tensors = dict(sorted(tensors.items(), key=lambda named: -named[1].itemsize))
    about: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    size = 0
    for name, tensor in tensors.items():
        end = size + tensor.nbytes
        about[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [size, end],
        }
        size = end
    text = json.dumps(about).encode()
    text += b" " * (-len(text) % 8)  # the numbers begin at a multiple of eight
    header = len(text).to_bytes(8, "little") + text
    digest = xxhash.xxh3_128(header)
    file.write(header)
    for tensor in tensors.values():
        numbers = tensor.numpy().data.cast("B") if tensor.numel() else b""
        for at in range(0, len(numbers), SLICE):
            file.write(numbers[at : at + SLICE])
            digest.update(numbers[at : at + SLICE])
    return len(header) + size, digest.hexdigest()
