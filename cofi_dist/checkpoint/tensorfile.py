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

DTYPES = {torch.float32: "F32", torch.float64: "F64"}
SLICE = 2**20  # bytes hashed while they are still in the cache that they were written from


def write_tensors(file: Path, tensors: dict[str, Tensor]) -> tuple[int, str]:
    """Write tensors, in their order, and sync the file.

    Args:
        file: is made new, or written over in place; not through a link.
        tensors: contiguous, on the CPU, float32 or float64.

    Returns:
        The file's size in bytes, and its XXH3 of 128 bits.

    Raises:
        OSError: it can't be written.
    """
    about: dict[str, object] = {}
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
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with open(descriptor, "wb") as opened:
        opened.write(header)
        for tensor in tensors.values():
            numbers = tensor.numpy().data.cast("B") if tensor.numel() else b""
            for at in range(0, len(numbers), SLICE):
                opened.write(numbers[at : at + SLICE])
                digest.update(numbers[at : at + SLICE])
        opened.truncate()
        opened.flush()
        os.fsync(opened.fileno())
    return len(header) + size, digest.hexdigest()
