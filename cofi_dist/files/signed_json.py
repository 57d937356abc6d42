"""Write and read JSON that carries a checksum of itself."""

import hashlib
import json
from pathlib import Path
from typing import Any

from cofi_dist.files.reading import parse_json, read_bytes, shortened
from cofi_dist.files.written_file import write_file

CHECKSUM = "sha256"  # its key


def write_signed(file: Path, said: dict[str, Any]) -> None:
    """Write an object with its own checksum, and flush it to the disk.

    Raises:
        OSError: it can't be written.
    """
    write_file(file, json.dumps({**said, CHECKSUM: digest_of(said)}, indent=1) + "\n")


def digest_of(said: dict[str, Any]) -> str:
    """Return the checksum of an object, without the checksum itself."""
    rest = {key: value for key, value in said.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_signed(file: Path, most_bytes: int) -> dict[str, Any]:
    """Return what `write_signed` wrote, with the checksum.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else; the text says what.
    """
    said = parse_json(read_bytes(file, most_bytes))
    if not isinstance(said, dict):
        raise ValueError(f"holds {shortened(said)}, not an object of keys")
    try:
        is_sound = said.get(CHECKSUM) == digest_of(said)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not is_sound:
        raise ValueError("its content is not what was written: its own checksum differs")
    return said
