"""Name the files in a run directory; this module imports nothing of the package.

The marker says that the files with these names were written by a run. Without it, nothing in the directory is
deleted, except temporary files that were left half-written.
"""

from contextlib import suppress
from pathlib import Path

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
LOG = "train.log"
SHARDS = "shards.json"
RESULT = "result.json"
FILES = (CONFIG, METRICS, LOG, SHARDS, RESULT)

MODEL = "model"
DATA = "data"
TENSORBOARD = "tensorboard"
TRACKERS = "trackers"
CHECKPOINTS = "checkpoints"
FOLDERS = (MODEL, DATA, TENSORBOARD, TRACKERS, CHECKPOINTS)

MARKER = ".cofi_dist"
LOCK = ".lock"
STOP = "STOP"


def is_run(directory: Path) -> bool:
    """Return whether a run has begun in the directory."""
    with suppress(OSError):  # the name is too long, or the file system is away
        return (directory / MARKER).exists()
    return False
