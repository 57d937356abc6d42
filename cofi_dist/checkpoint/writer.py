"""Saving in the background: a step waits for the copy alone, the files are written beside it."""

import errno
import os
import shutil
import stat
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cofi_dist.checkpoint.manifest import (
    FILE,
    FORMAT,
    Manifest,
    Numbers,
    Part,
    directory_name,
    part_name,
    read_manifest,
    write_manifest,
)
from cofi_dist.checkpoint.reader import list_checkpoints
from cofi_dist.distributed import Comm
from cofi_dist.errors import CheckpointError, CheckpointReadError
from cofi_dist.files.tensor_file import write_tensors
from cofi_dist.files.written_file import flush_to_disk, write_failure
from cofi_dist.run.directory import METRICS, is_run
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.state import ITEM_FACTORS, USER_FACTORS, State

# What is left of a checkpoint that was given up; one that a run left behind goes with its unfinished ones.
SPARE = ".epoch-spare.tmp"


@dataclass(frozen=True)
class SaveReport:
    """A save that is over.

    Attributes:
        epoch: steps taken by then.
        bytes: of all files.
        copy_seconds: that the step waited for.
        seconds: until it was complete.
        error: why it failed; empty if it did not.
    """

    epoch: int
    bytes: int
    copy_seconds: float
    seconds: float
    error: str = ""


class CheckpointWriter:
    """Writes one checkpoint at a time; every rank its users' rows and its share of the items'.

    Args:
        directory: of the run's checkpoints, in its run directory.
        about: what the manifest says of the run.
        users: this rank's.
        comm: the ranks.
        keep: how many complete checkpoints stay.
    """

    def __init__(
        self, directory: Path, about: dict[str, Any], users: UserRange, comm: Comm, keep: int
    ) -> None:
        self._directory, self._about, self._comm, self._keep = directory, about, comm, keep
        bounds = [about["num_items"] * r // comm.world_size for r in (comm.rank, comm.rank + 1)]
        self._ranges = {"users": users, "items": UserRange(*bounds)}
        self._thread: threading.Thread | None = None
        self._pruning: threading.Thread | None = None
        # taken once: fresh memory for every save would cost as much again as copying into it
        self._copies: dict[str, Tensor] = {}
        self._parts: list[Part] = []
        self._error = ""

    @property
    def is_running(self) -> bool:
        """Whether this rank is still writing."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_open(self) -> bool:
        """Whether a save has begun that is not yet complete; the same on all ranks."""
        return self._thread is not None

    def start_save(self, state: State) -> None:
        """Copy the state, and begin to write it. No save may be open. Collective."""
        assert self._thread is None
        self._started = time.perf_counter()
        self._numbers, self._parts, self._error = state.scalars, [], ""
        self._comm.on_first(self._make_room)
        tensors = {
            side: {
                name: self._copy(name, rows[self._cut(side)])
                for name, rows in state.row_tensors(letters).items()
            }
            for side, letters in (("users", USER_FACTORS), ("items", ITEM_FACTORS))
        }
        self._copied = time.perf_counter() - self._started
        self._thread = threading.Thread(target=self._write, args=(tensors,), name="checkpoint")
        self._thread.start()

    def _cut(self, side: str) -> slice:
        """Of this rank's rows, those that it writes: all of its users, a share of the items."""
        items = self._ranges["items"]
        return slice(items.start, items.stop) if side == "items" else slice(None)

    def _copy(self, name: str, rows: Tensor) -> Tensor:
        if name not in self._copies:
            pinned = rows.device.type == "cuda"  # memory that a GPU copies to at full speed
            self._copies[name] = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=pinned)
        return self._copies[name].copy_(rows.detach())

    def _write(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        try:
            if not is_run(self._directory.parent):
                raise FileNotFoundError(errno.ENOENT, "the run directory is gone, or its file system is")
            self._temporary.mkdir(parents=True, exist_ok=True)
            for side, rows in self._ranges.items():
                if not len(rows):
                    continue
                file = self._temporary / part_name(side, rows.start, rows.stop)
                size, digest = write_tensors(file, tensors[side])
                self._parts.append(
                    Part(side=side, start=rows.start, stop=rows.stop, bytes=size, xxh3=digest)  # type: ignore[arg-type]
                )
            if self._comm.rank == 0 and (metrics := self._directory.parent / METRICS).exists():
                flush_to_disk(metrics)  # what was printed up to here outlasts a power cut too
        except Exception as error:  # whatever it is, these files are no checkpoint
            self._error = _reason(error)

    def wait(self) -> None:
        """Return once nothing more is written, and nothing is left that was kept to be written over."""
        if self._thread is not None:
            self._thread.join()
        self._end_pruning()
        if self._comm.rank == 0:
            shutil.rmtree(self._directory / SPARE, ignore_errors=True)

    def _make_room(self) -> None:
        """Rank 0: the files of the last checkpoint that was given up are those of the next one."""
        self._end_pruning()  # its room on the disk may be needed, by any rank
        with suppress(OSError):  # there is none
            (self._directory / SPARE).rename(self._temporary)

    def _end_pruning(self) -> None:
        if self._pruning is not None:
            self._pruning.join()

    def finish_save(self) -> SaveReport:
        """Wait for the files of all ranks; then the manifest makes them a checkpoint, or all go.

        Collective: all ranks call it.
        """
        assert self._thread is not None
        self._thread.join()
        self._thread = None
        errors = [error for error in self._comm.gather(self._error) if error]
        written = self._comm.gather([part.model_dump() for part in self._parts])
        every = [Part.model_validate(part) for mine in written for part in mine]
        parts = sorted(every, key=lambda part: (part.side, part.start))
        error = errors[0] if errors else self._comm.on_first(lambda: self._commit(parts))
        if error:
            self._comm.on_first(lambda: shutil.rmtree(self._temporary, ignore_errors=True))
        return SaveReport(
            self._numbers["epoch"],
            sum(part.bytes for part in parts),
            self._copied,
            time.perf_counter() - self._started,
            error,
        )

    @property
    def _temporary(self) -> Path:
        return self._directory / f".{directory_name(self._numbers['epoch'])}.tmp"

    def _commit(self, parts: list[Part]) -> str:
        """Rank 0: manifest, rename, old ones away; returns what went wrong."""
        manifest = Manifest(format=FORMAT, numbers=Numbers(**self._numbers), parts=parts, **self._about)
        target = self._directory / directory_name(self._numbers["epoch"])
        try:
            write_manifest(self._temporary, manifest)
            read_manifest(self._temporary)  # it names every file, or it would push out better ones
            flush_to_disk(self._temporary)
            if os.path.lexists(target):  # it was found broken, or it would not be saved again
                _remove(target)
            self._temporary.rename(target)
        except (OSError, CheckpointError) as error:
            return _reason(error)
        try:
            for path in (self._directory, self._directory.parent):
                flush_to_disk(path)
        except OSError as error:
            return f"it stands, but may not outlast a power cut: {_reason(error)}"
        # to free the pages of large files takes longer than the rest of this; no step waits for it
        names = {part.name for part in parts}
        self._pruning = threading.Thread(target=_prune, args=(target, self._keep, names), name="prune")
        self._pruning.start()
        return ""


def _reason(error: Exception) -> str:
    """Why a save failed, without the errno and the path that an OSError's own text begins with."""
    return write_failure(error) if isinstance(error, OSError) else str(error)


def _prune(newest: Path, keep: int, names: set[str]) -> None:
    """Give up what is older than the `keep` newest checkpoints up to the one that has just become complete.

    Broken ones are not counted. Those of later epochs were not whole, or the run would have gone on
    from them. The files of one, if they have these names, are kept to be written over.
    """
    older: list[Path] = []
    with suppress(CheckpointError):  # what could not go now can go after the next save
        older = [path for path in list_checkpoints(newest.parent) if path.name < newest.name]
    kept = [newest, *filter(_is_whole, older)][:keep]
    for path in older if len(kept) == keep else []:
        if path.name < kept[-1].name:
            with suppress(OSError):
                if not _spare(path, names):
                    _remove(path)


def _is_whole(directory: Path) -> bool:
    """Whether its manifest is sound and the files have their sizes; their content is not read."""
    try:
        read_manifest(directory)
    except CheckpointError:
        return False
    return True


def _spare(directory: Path, names: set[str]) -> bool:
    """Whether the files of a checkpoint could be kept for the next one to write over.

    Fresh pages and blocks cost more than what is written into them. Files that somebody else has a name for,
    such as a snapshot of hard links, are left to them.
    """
    spare = directory.parent / SPARE
    files = {path.name: path.lstat() for path in directory.iterdir() if path.name != FILE}
    if set(files) != names or spare.exists():
        return False
    ours = (stat.S_ISREG(is_.st_mode) and is_.st_nlink == 1 for is_ in files.values())
    if not all(ours) or not all(os.access(directory / name, os.W_OK) for name in names):
        return False
    (directory / FILE).unlink(missing_ok=True)  # first: from here on it is no checkpoint
    try:
        flush_to_disk(directory)  # nor shall it be one again after a power cut, with what is written over it
        directory.rename(spare)
    except OSError:  # one of an overlay's lower layer can't be renamed
        return False
    flush_to_disk(spare.parent)
    return True


def _remove(directory: Path) -> None:
    """The manifest first: what is left of a removal that breaks off is no checkpoint."""
    if directory.is_symlink() or not directory.is_dir():  # not ours, and it stands where ours is to go
        directory.unlink()
        return
    with suppress(IsADirectoryError):
        (directory / FILE).unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)


def clear_unfinished(directory: Path) -> None:
    """Remove what saves that broke off have left.

    Raises:
        CheckpointReadError: what is in the directory can't be read.
    """
    try:
        left = list(directory.glob(".epoch-*.tmp"))
    except OSError as error:
        raise CheckpointReadError(f"{directory}: cannot be read: {error.strerror or error}") from None
    for path in left:
        with suppress(OSError):  # it stays, and the save of that epoch will say why it fails
            _remove(path)
