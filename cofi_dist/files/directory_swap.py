"""Replace a directory by another one, so that one of them is complete at any time."""

import ctypes
import errno
import os
import shutil
import sys
from pathlib import Path

from cofi_dist.files.written_file import flush_to_disk

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # constants of Linux


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names atomically; return False if the system cannot do that."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None), "renameat2", None)  # not in every libc, and not for every file system
    names = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    return rename is not None and rename(*names, RENAME_EXCHANGE) == 0


def swap(new: Path, target: Path, old: Path) -> None:
    """Replace `target` by `new`; what was there becomes `old` or is removed.

    Both are on one file system, and flushed to the disk. Without an atomic exchange, a process that is killed
    may leave no `target`, or a part of it. In that case `old` exists, and `finish_swap` can finish the work.

    Raises:
        OSError: it cannot be done; `target` is unchanged, or `finish_swap` can restore it.
    """
    if exchange(new, target):
        return
    try:
        target.rename(old)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # In a lower layer of an overlay file system, as in an image, directories cannot be renamed.
        _copy(target, old)
        remove_any(target)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise


def finish_swap(scratch: Path, target: Path) -> None:
    """Finish a swap that was interrupted; `scratch` holds its `new` and `old`, if they exist.

    Raises:
        OSError: it cannot be done; nothing is lost.
    """
    if not os.path.lexists(scratch / "old"):
        return
    complete = pending_replacement(scratch, target)
    if complete is not None:
        remove_any(target)  # a part of what could not be renamed may be left
        complete.rename(target)
    flush_to_disk(target.parent)


def pending_replacement(scratch: Path, target: Path) -> Path | None:
    """Return what has to be renamed to `target` to finish an interrupted swap, if anything."""
    new, old = scratch / "new", scratch / "old"
    if not os.path.lexists(old):
        return None
    if os.path.lexists(new):
        return new
    return None if os.path.lexists(target) else old


def remove_any(path: Path) -> None:
    """Remove a directory with its content, or a file, or nothing if the path does not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush_tree_to_disk(directory: Path) -> None:
    """Flush a directory and everything in it to the disk."""
    for path in (*directory.rglob("*"), directory):
        flush_to_disk(path)


def _copy(directory: Path, target: Path) -> None:
    """Copy a directory; the copy appears under its name once it is complete."""
    part = target.with_name(f"{target.name}.part")
    shutil.copytree(directory, part, symlinks=True)
    flush_tree_to_disk(part)
    part.rename(target)
