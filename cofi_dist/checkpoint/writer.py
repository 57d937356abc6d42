"""Write checkpoints in the background: a training step only waits until the state has been copied."""

import errno
import os
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cofi_dist.checkpoint.manifest import (
    FORMAT,
    Manifest,
    Numbers,
    PartFile,
    RowKind,
    directory_name,
    part_name,
    read_manifest,
    write_manifest,
)
from cofi_dist.checkpoint.retention import prune, remove_checkpoint, remove_spare, reuse_spare
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CheckpointError
from cofi_dist.files.tensor_file import write_tensors
from cofi_dist.files.written_file import flush_to_disk, write_failure
from cofi_dist.run_layout import is_run
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.state import ITEM_FACTORS, USER_FACTORS, State


@dataclass(frozen=True)
class SaveReport:
    """Hold the outcome of one save.

    Attributes:
        epoch: number of steps that the saved state had taken.
        bytes: size of all files.
        copy_seconds: time that the training step waited for.
        seconds: time until the checkpoint was complete.
        error: why the save failed; empty if it did not.
    """

    epoch: int
    bytes: int
    copy_seconds: float
    seconds: float
    error: str = ""


class CheckpointWriter:
    """Write one checkpoint at a time; each rank writes its users' rows and some of the items' rows.

    Args:
        directory: directory of the run's checkpoints; its parent is the run directory.
        about: the manifest's fields that describe the run.
        users: this rank's users.
        items: the items that it owns; None if all items are on every rank, which then share the writing.
        comm: the ranks.
        keep: number of complete checkpoints to keep.
        synced_files: files that rank 0 flushes to the disk with each checkpoint, if they exist.
    """

    def __init__(
        self,
        directory: Path,
        about: dict[str, Any],
        users: UserRange,
        items: Sequence[UserRange] | None,
        comm: Comm,
        keep: int,
        synced_files: Sequence[Path] = (),
    ) -> None:
        self._directory, self._about, self._comm, self._keep = directory, about, comm, keep
        self._synced_files = synced_files
        self._item_rows = slice(None)
        if items is None:
            bounds = (about["num_items"] * rank // comm.world_size for rank in (comm.rank, comm.rank + 1))
            items = [UserRange(*bounds)]
            self._item_rows = slice(items[0].start, items[0].stop)
        # what each of its files holds; a rank's own rows follow one another in this order
        self._ranges: dict[RowKind, Sequence[UserRange]] = {"users": [users], "items": items}
        self._thread: threading.Thread | None = None
        self._pruning: threading.Thread | None = None
        # Allocated once: fresh memory for each save would cost as much again as the copying.
        self._copies: dict[str, Tensor] = {}
        self._parts: list[PartFile] = []
        self._error = ""

    @property
    def is_running(self) -> bool:
        """Tell whether this rank is still writing."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_open(self) -> bool:
        """Tell whether a save has been started and not yet finished; the same on all ranks."""
        return self._thread is not None

    def start_save(self, state: State) -> None:
        """Copy the state and start to write it; no save may be open.

        Collective: all ranks call it.
        """
        assert self._thread is None
        self._started = time.perf_counter()
        self._numbers, self._parts, self._error = state.scalars, [], ""
        self._comm.from_rank_zero(self._make_room)
        tensors = {
            side: {name: self._copy(name, rows[own]) for name, rows in state.row_tensors(letters).items()}
            for side, letters, own in (
                ("users", USER_FACTORS, slice(None)),
                ("items", ITEM_FACTORS, self._item_rows),
            )
        }
        self._copied = time.perf_counter() - self._started
        self._thread = threading.Thread(target=self._write, args=(tensors,), name="checkpoint")
        self._thread.start()

    def _copy(self, name: str, rows: Tensor) -> Tensor:
        if name not in self._copies:
            pinned = rows.device.type == "cuda"  # a GPU copies to pinned memory at full speed
            self._copies[name] = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=pinned)
        return self._copies[name].copy_(rows.detach())

    def _write(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Write this rank's files; runs in a thread of its own."""
        try:
            if not is_run(self._directory.parent):
                raise FileNotFoundError(errno.ENOENT, "the run directory is gone, or its file system is")
            self._temporary.mkdir(parents=True, exist_ok=True)
            for side, ranges in self._ranges.items():
                done = 0
                for rows in ranges:
                    if len(rows):
                        self._write_part(side, rows, tensors[side], slice(done, done + len(rows)))
                    done += len(rows)
            if self._comm.rank == 0:
                for file in self._synced_files:
                    if file.exists():
                        flush_to_disk(file)
        except Exception as error:  # whatever it is, these files are no checkpoint
            self._error = _failure(error)

    def _write_part(self, side: RowKind, rows: UserRange, tensors: dict[str, Tensor], own: slice) -> None:
        """Write a file with some rows; `own` says which of this rank's they are."""
        file = self._temporary / part_name(side, rows.start, rows.stop)
        size, digest = write_tensors(file, {name: tensor[own].numpy() for name, tensor in tensors.items()})
        self._parts.append(PartFile(side=side, start=rows.start, stop=rows.stop, bytes=size, xxh3=digest))

    def wait(self) -> None:
        """Wait until nothing is being written or removed, and remove the spare files."""
        if self._thread is not None:
            self._thread.join()
        self._end_pruning()
        if self._comm.rank == 0:
            remove_spare(self._directory)

    def _make_room(self) -> None:
        """Turn the files of the last expired checkpoint into those of the next one; rank 0 calls it."""
        self._end_pruning()  # any rank may need the disk space that it frees
        reuse_spare(self._directory, self._temporary)

    def _end_pruning(self) -> None:
        if self._pruning is not None:
            self._pruning.join()

    def finish_save(self) -> SaveReport:
        """Wait for the files of all ranks, then commit the checkpoint; remove it if a rank has failed.

        Collective: all ranks call it.
        """
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        errors = [error for error in self._comm.all_gather_objects(self._error) if error]
        parts_of_ranks = self._comm.all_gather_objects([part.model_dump() for part in self._parts])
        parts = [PartFile.model_validate(part) for parts in parts_of_ranks for part in parts]
        parts.sort(key=lambda part: (part.side, part.start))
        error = errors[0] if errors else self._comm.from_rank_zero(lambda: self._commit(parts))
        if error:
            self._comm.from_rank_zero(lambda: shutil.rmtree(self._temporary, ignore_errors=True))
        return SaveReport(
            epoch=self._numbers["epoch"],
            bytes=sum(part.bytes for part in parts),
            copy_seconds=self._copied,
            seconds=time.perf_counter() - self._started,
            error=error,
        )

    @property
    def _temporary(self) -> Path:
        return self._directory / f".{directory_name(self._numbers['epoch'])}.tmp"

    def _commit(self, parts: list[PartFile]) -> str:
        """Write the manifest, rename the directory and prune; return what went wrong. Rank 0 calls it."""
        manifest = Manifest(format=FORMAT, numbers=Numbers(**self._numbers), parts=parts, **self._about)
        target = self._directory / directory_name(self._numbers["epoch"])
        try:
            write_manifest(self._temporary, manifest)
            read_manifest(self._temporary)  # a broken checkpoint must not displace older, sound ones
            flush_to_disk(self._temporary)
            if os.path.lexists(target):  # it is broken, or this epoch would not be saved again
                remove_checkpoint(target)
            self._temporary.rename(target)
        except (OSError, CheckpointError) as error:
            return _failure(error)
        try:
            for path in (self._directory, self._directory.parent):
                flush_to_disk(path)
        except OSError as error:
            return f"it stands, but may not outlast a power cut: {_failure(error)}"
        # Freeing the pages of large files takes longer than the rest of this; no step waits for it.
        names = {part.name for part in parts}
        self._pruning = threading.Thread(target=prune, args=(target, self._keep, names), name="prune")
        self._pruning.start()
        return ""


def _failure(error: Exception) -> str:
    """Return why a save failed, without the errno and the path in the text of an OSError."""
    return write_failure(error) if isinstance(error, OSError) else str(error)
