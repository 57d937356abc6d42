"""List the checkpoints of a run, and verify every byte of them."""

import time
from dataclasses import dataclass
from pathlib import Path

from cofi_dist.checkpoint.manifest import FILE, list_checkpoints, read_manifest, verify
from cofi_dist.errors import CheckpointError, RunError
from cofi_dist.run_layout import CHECKPOINTS, is_run


@dataclass(frozen=True, kw_only=True)
class SavedCheckpoint:
    """Describe a checkpoint whose every byte is as it was saved.

    Attributes:
        name: name of its directory.
        epoch: number of epochs that the run had completed.
        world_size: number of ranks that wrote it.
        bytes: size of its tensors' files.
        saved_at: when it was saved, in seconds since 1970.
    """

    name: str
    epoch: int
    world_size: int
    bytes: int
    saved_at: float


def verified_checkpoints(run: Path) -> tuple[list[SavedCheckpoint], list[str]]:
    """Return the complete checkpoints of a run, the newest first, and what is wrong with the others.

    Raises:
        RunError: the directory is not that of a run.
    """
    if not is_run(run):
        raise RunError(f"{run}: is not the directory of a run")
    complete, faults = [], []
    for directory in list_checkpoints(run / CHECKPOINTS):
        try:
            complete.append(_verified(directory))
        except (CheckpointError, OSError) as error:
            if not _is_being_removed(directory):
                faults.append(str(error))
    return complete, faults


def _verified(directory: Path) -> SavedCheckpoint:
    manifest = read_manifest(directory)
    for part in manifest.parts:
        verify(directory, part)
    return SavedCheckpoint(
        name=directory.name,
        epoch=manifest.numbers.epoch,
        world_size=manifest.world_size,
        bytes=manifest.bytes,
        saved_at=(directory / FILE).stat().st_mtime,
    )


def _is_being_removed(directory: Path) -> bool:
    """Return whether a damaged checkpoint is just being removed, in which case its manifest goes first."""
    for _ in range(20):
        if not directory.exists():
            return True
        if (directory / FILE).exists():
            return False
        time.sleep(0.05)
    return False
