"""Putting a directory in the place of another one, so that one of them is whole at any time."""

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

from cofi_dist.files.written_file import flush_to_disk

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step that nobody sees half of; returns False where that can't be done."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # not in every libc, nor in every file system
    names = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    return rename is not None and rename(*names, RENAME_EXCHANGE) == 0


def swap(new: Path, target: Path, old: Path) -> None:
    """Put `new` in the place of `target`, which becomes `old`, or goes.

    Both are on one file system, and synced. Where there is no exchange in one step, a process that is killed
    may leave no `target`, or a part of it: then `old` is there, which tells `finish_swap`.

    Raises:
        OSError: it can't be done; `target` is what it was, or `finish_swap` can make it whole.
    """
    if exchange(new, target):
        return
    try:
        target.rename(old)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # a directory in a lower layer of an overlay can't be renamed, as one that was baked into an image
        _copy(target, old)
        remove_any(target)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise


def finish_swap(scratch: Path, target: Path) -> None:
    """End a swap that was broken off; `scratch` holds its `new` and `old`, as far as they are there.

    Raises:
        OSError: it can't be done; nothing is lost.
    """
    if not os.path.lexists(scratch / "old"):
        return
    whole = pending_replacement(scratch, target)
    if whole is not None:
        remove_any(target)  # of what could not be renamed, a part may be left
        whole.rename(target)
    flush_to_disk(target.parent)


def pending_replacement(scratch: Path, target: Path) -> Path | None:
    """What has to take the place of `target` to end a swap that was broken off, if one was."""
    new, old = scratch / "new", scratch / "old"
    if not os.path.lexists(old):
        return None
    if os.path.lexists(new):
        return new
    return None if os.path.lexists(target) else old


def remove_any(path: Path) -> None:
    """Remove a directory and what is in it, a file, or nothing where nothing is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush_tree_to_disk(directory: Path) -> None:
    """Sync a directory and everything in it."""
    for path in (*directory.rglob("*"), directory):
        flush_to_disk(path)


def _copy(directory: Path, target: Path) -> None:
    """A copy that appears whole."""
    part = target.with_name(f"{target.name}.part")
    shutil.copytree(directory, part, symlinks=True)
    flush_tree_to_disk(part)
    part.rename(target)
