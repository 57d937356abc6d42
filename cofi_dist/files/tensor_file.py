"""Write tensors to a safetensors file, and hash them on the way.

The library's own `save_file` first copies each tensor into a bytes object, which takes three times as long as
writing it. Checkpoints are written while training goes on with the same cores, so no second copy is made and
nothing is read again. For the same reason the checksum is a fast one; it detects truncated and damaged files.
"""

import json
import os
from pathlib import Path

import torch
import xxhash
from torch import Tensor

from cofi_dist.files.written_file import WrittenFile, finish_on_exit

DTYPES = {torch.float32: "F32", torch.float64: "F64"}
SLICE = 2**20  # bytes that are written and then hashed while they are still in the cache


def write_tensors(
    file: Path | WrittenFile, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None
) -> tuple[int, str]:
    """Write tensors to a file and flush it; return its size in bytes and its 128-bit XXH3 checksum.

    Tensors of the wider type come first, so that all of them are aligned.

    Args:
        file: a path, which is created or overwritten in place, but not through a link; or an open file, which
            the caller finishes.
        tensors: contiguous tensors on the CPU, of float32 or float64.
        metadata: texts to store with them.

    Raises:
        OSError: the file cannot be written.
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
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned to 8 bytes
    header = len(text).to_bytes(8, "little") + text
    digest = xxhash.xxh3_128(header)
    file.write(header)
    for tensor in tensors.values():
        numbers = tensor.numpy().data.cast("B") if tensor.numel() else b""
        for at in range(0, len(numbers), SLICE):
            file.write(numbers[at : at + SLICE])
            digest.update(numbers[at : at + SLICE])
    return len(header) + size, digest.hexdigest()
