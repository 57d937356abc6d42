"""Read and check the header of a safetensors file before any of its tensors is read.

The library accepts headers of 100 MB, and tensors of any type and shape. This package only writes a few
tensors of floating-point numbers, and reads nothing else.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cofi_dist.files.reading import open_regular, parse_json, shortened

MAX_HEADER = 2**20  # bytes
ITEM_BYTES = {"F32": 4, "F64": 8}
NAMES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}
MAX_COUNT = 2**53  # of rows, and of bytes
MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class TensorInfo:
    """Hold the type and shape of one tensor, as the header declares them.

    Attributes:
        dtype: as in the file, such as F32.
        shape: any number of dimensions.
        start: its first byte in the file; tensors of one type and shape are equal, wherever they lie.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int = field(default=0, compare=False)

    def __str__(self) -> str:
        kind = NAMES.get(self.dtype, shortened(self.dtype, quoted=False))
        return f"{kind} {shortened(self.shape)}"


def read_header(file: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Return the tensors that a file declares, and its metadata.

    All tensors are of float32 or float64, and together they fill the file.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
        ValueError: the header is wrong; the text says how.
    """
    with open_regular(file) as opened:
        opened.seek(0, 2)
        size = opened.tell()
        opened.seek(0)
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            raise ValueError("is no safetensors file, or was cut off")
        said = parse_json(opened.read(length))
    if not isinstance(said, dict):
        raise ValueError(f"is no safetensors file: its table is {shortened(said)}")
    metadata = said.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ValueError(f"is no safetensors file: its metadata are {shortened(metadata)}")
    table, spans = {}, []
    for name, about in said.items():
        table[name], span = _declared(name, about, 8 + length)
        spans.append(span)
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise ValueError("is damaged: its tensors do not follow one another")
        end = stop
    if 8 + length + end != size:
        raise ValueError(f"is damaged: it declares {8 + length + end:,} bytes and has {size:,}")
    return table, metadata


def _declared(name: str, about: Any, data_start: int) -> tuple[TensorInfo, tuple[int, int]]:
    """Return one entry of the header, and the start and stop of the tensor's bytes."""
    what = shortened(name, quoted=False)
    keys = ("dtype", "shape", "data_offsets")
    if not isinstance(about, dict) or not all(key in about for key in keys):
        raise ValueError(f"is damaged: the table does not say what {what} is")
    dtype, shape, span = (about[key] for key in keys)
    if not isinstance(dtype, str) or not _are_counts(shape, MAX_DIMENSIONS) or not _are_counts(span, 2):
        raise ValueError(f"is damaged: the table says of {what}: {shortened(about)}")
    if len(span) < 2:
        raise ValueError(f"is damaged: the table does not say where {what} lies")
    declared = TensorInfo(dtype, tuple(shape), data_start + span[0])
    if dtype not in ITEM_BYTES:
        raise ValueError(f"is damaged: {what} is {declared}, not of float32 or float64")
    if span[1] - span[0] != math.prod(shape) * ITEM_BYTES[dtype]:
        raise ValueError(f"is damaged: {what} is {declared} in {span[1] - span[0]:,} bytes")
    return declared, (span[0], span[1])


def _are_counts(values: Any, most: int) -> bool:
    if not isinstance(values, list) or len(values) > most:
        return False
    return all(type(each) is int and 0 <= each < MAX_COUNT for each in values)
