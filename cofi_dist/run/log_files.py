"""Append to the files of a run's log, and drop the metrics of epochs that will be trained again."""

import json
import math
import os
from contextlib import suppress
from pathlib import Path

from cofi_dist.errors import RunError
from cofi_dist.files.atomic import write_atomically
from cofi_dist.files.reading import LONGEST_LINE, open_regular, read_failure
from cofi_dist.files.written_file import write_failure
from cofi_dist.run_layout import METRICS


class LineFile:
    """Append lines to a file; lines that a full disk refuses are kept in memory and tried again.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._pending = path, path.open("ab", buffering=0), b""

    def add(self, text: str) -> None:
        """Append a line, now or as soon as that is possible."""
        self._pending += f"{text}\n".encode()
        with suppress(OSError):
            self._write()

    def close(self) -> str:
        """Write what is pending, and close the file; return what went wrong, or an empty text."""
        try:
            self._write()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            return f"{self._path}: cannot be written to the end: {write_failure(error)}"
        return ""

    def _write(self) -> None:
        while self._pending:
            self._pending = self._pending[self._file.write(self._pending) :]


def truncate_metrics(run_dir: Path, epoch: int) -> None:
    """Drop the lines of later epochs from `metrics.jsonl`; these epochs will be trained again.

    Raises:
        RunError: the file cannot be read or written.
    """
    file = run_dir / METRICS
    if not file.exists():
        return
    try:
        kept: list[bytes] = []
        with open_regular(file) as opened:
            # A line that is too long is read in pieces, none of which is a line of ours.
            while line := opened.readline(LONGEST_LINE):
                if not line.isascii():
                    raise RunError(f"{file}: is not what a run writes; to go on without it, remove it")
                if _epoch_of(line) <= epoch:
                    kept.append(line)
    except OSError as error:
        raise RunError(f"{file}: {read_failure(error)}") from None
    write_atomically(file, b"".join(kept))


def _epoch_of(line: bytes) -> float:
    """Return the epoch of a line of metrics; infinity if the line was cut off."""
    try:
        return float(json.loads(line)["epoch"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return math.inf
