"""Read the file of an offline run of Weights & Biases: records in the log format of LevelDB."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK = 7, 32768  # bytes: of the file and of each piece of a record; pieces do not cross blocks
FULL, FIRST, LAST = 1, 2, 4


def wandb_records(file: Path) -> Iterator[Any]:
    """Yield the records of a run, as W&B's own protocol buffers."""
    from wandb.proto import wandb_internal_pb2

    data, place, parts = file.read_bytes(), HEADER, bytearray()
    assert data.startswith(b":W&B")
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        if kind in (FULL, FIRST):
            parts.clear()
        parts += data[place + HEADER : place + HEADER + length]
        place += HEADER + length
        if kind in (FULL, LAST):
            record = getattr(wandb_internal_pb2, "Record")()  # noqa: B009, made at run time, unknown to mypy
            record.ParseFromString(bytes(parts))
            yield record
