"""Choose which checkpoints of a run are kept, and remove or reuse the others."""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from cofi_dist.checkpoint.manifest import FILE, list_checkpoints, read_manifest
from cofi_dist.errors import CheckpointError, CheckpointReadError
from cofi_dist.files.written_file import flush_to_disk

# An expired checkpoint whose files the next save will overwrite. It is named like an unfinished checkpoint,
# so that what a killed run leaves behind is removed together with these.
SPARE = ".epoch-spare.tmp"


def prune(newest: Path, keep: int, file_names: set[str]) -> None:
    """Expire the checkpoints that are older than the `keep` newest complete ones.

    Broken checkpoints are not counted. Those of later epochs than `newest` are left alone: they were not
    complete, or else the run would have resumed from them.

    Args:
        newest: the checkpoint that has just been completed.
        keep: number of complete checkpoints to keep.
        file_names: names of the files of `newest`; an expired checkpoint with these names is kept.
    """
    older: list[Path] = []
    with suppress(CheckpointError):  # what cannot be removed now can be removed after the next save
        older = [path for path in list_checkpoints(newest.parent) if path.name < newest.name]
    kept = [newest, *filter(_is_complete, older)][:keep]
    for path in older if len(kept) == keep else []:
        if path.name < kept[-1].name:
            with suppress(OSError):
                if not _keep_as_spare(path, file_names):
                    remove_checkpoint(path)


def _is_complete(directory: Path) -> bool:
    """Return whether the manifest is sound and the files have their sizes; their content is not read."""
    try:
        read_manifest(directory)
    except CheckpointError:
        return False
    return True


def _keep_as_spare(directory: Path, file_names: set[str]) -> bool:
    """Keep the files of an expired checkpoint for the next save to overwrite; return whether that worked.

    Allocating fresh pages and disk blocks costs more than writing their content. Files with a second hard
    link, as in a snapshot, are not overwritten.
    """
    spare = directory.parent / SPARE
    files = {path.name: path.lstat() for path in directory.iterdir() if path.name != FILE}
    if set(files) != file_names or spare.exists():
        return False
    are_ours = all(stat.S_ISREG(info.st_mode) and info.st_nlink == 1 for info in files.values())
    if not are_ours or not all(os.access(directory / name, os.W_OK) for name in file_names):
        return False
    (directory / FILE).unlink(missing_ok=True)  # first: without a manifest it is no checkpoint
    try:
        # or else a power cut could bring the manifest back, beside overwritten files
        flush_to_disk(directory)
        directory.rename(spare)
    except OSError:  # in a lower layer of an overlay file system, directories cannot be renamed
        return False
    flush_to_disk(spare.parent)
    return True


def reuse_spare(directory: Path, target: Path) -> None:
    """Rename the spare in a directory of checkpoints, if there is one, to `target`."""
    with suppress(OSError):  # there is none
        (directory / SPARE).rename(target)


def remove_spare(directory: Path) -> None:
    """Remove the spare in a directory of checkpoints, if there is one."""
    shutil.rmtree(directory / SPARE, ignore_errors=True)


def remove_checkpoint(directory: Path) -> None:
    """Remove a checkpoint, its manifest first, so that a removal that breaks off leaves no checkpoint."""
    if directory.is_symlink() or not directory.is_dir():  # not ours, but it stands where ours has to go
        directory.unlink()
        return
    with suppress(IsADirectoryError):
        (directory / FILE).unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)


def clear_unfinished(directory: Path) -> None:
    """Remove what interrupted saves have left in a directory of checkpoints.

    Raises:
        CheckpointReadError: the directory cannot be read.
    """
    try:
        unfinished = list(directory.glob(".epoch-*.tmp"))
    except OSError as error:
        raise CheckpointReadError(f"{directory}: cannot be read: {error.strerror or error}") from None
    for path in unfinished:
        with suppress(OSError):  # it stays, and the save of that epoch will report why it fails
            remove_checkpoint(path)
