"""Name temporary files and directories beside their target, and remove those of killed commands.

A process that writes one holds a lock of the operating system on it, which is released when the process
ends. If a file system has no locks, nobody can tell whether a temporary file is still in use. In that case
nothing is removed, and old ones are reported instead.

To lock a directory, a file in it is locked, because NFS cannot lock directories between hosts. All locks are
exclusive, on files that are open for reading and writing, because NFS requires that.
"""

import fcntl
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cofi_dist.files.directory_swap import finish_swap, pending_replacement, remove_any
from cofi_dist.streams import log_stderr

LOCK = "lock"  # beside `new` and `old` in a temporary directory
OLD = 3600  # seconds since the last write, before which nobody is advised to remove a temporary file


@contextmanager
def temporary_file(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield the path of a new file beside `target`, and the file; it is removed unless it was renamed."""
    while True:  # until we lock it before another process removes it
        path = temporary_path(target)
        file = path.open("x+b")
        mark = os.dup(file.fileno())  # holds the lock until the file has been closed and renamed
        if _hold(mark, path):
            break
        file.close()
        os.close(mark)
    try:
        yield path, file
    finally:
        with suppress(OSError):
            file.close()
        with suppress(OSError):  # it has been renamed
            path.unlink()
        os.close(mark)


@contextmanager
def temporary_directory(target: Path) -> Iterator[Path]:
    """Yield a new directory beside `target`, which is removed after a swap in it has been finished."""
    while True:
        path = temporary_path(target)
        path.mkdir()
        try:
            mark = _open_mark(path)
        except FileNotFoundError:  # another process removed it
            continue
        except OSError:
            with suppress(OSError):
                path.rmdir()
            raise
        if _hold(mark, path):
            break
        os.close(mark)
    try:
        yield path
    finally:
        with suppress(OSError):  # what stays takes up space, but does no harm
            _clear(path, target, mark)


def temporary_path(target: Path) -> Path:
    """Return a new name beside `target`, for what is later renamed to it."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")


def clear_temporaries(target: Path, *, alone: bool = False) -> None:
    """Remove what killed processes have written beside `target`, and finish the swaps that they began.

    Args:
        target: the path that the temporary files were to be renamed to.
        alone: whether no other process can be writing there, as in a run directory that is locked.
    """
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.tmp")
    with suppress(OSError):
        for path in [target.with_name(entry) for entry in os.listdir(target.parent) if name.fullmatch(entry)]:
            with suppress(OSError):
                if alone:
                    finish_swap(path, target)
                    remove_any(path)
                else:
                    _clear_abandoned(path, target)


def _clear_abandoned(path: Path, target: Path) -> None:
    """Remove a temporary unless a process holds its lock; report it if there are no locks and it is old."""
    try:
        mark = _open_mark(path)
    except FileNotFoundError:
        return
    except OSError as error:
        _report_if_old(path, target, error)
        return
    try:
        held = _lock(mark, path)
    except OSError as error:
        os.close(mark)
        _report_if_old(path, target, error)
        return
    if held:
        _clear(path, target, mark)
    else:
        os.close(mark)


def _locked_file(path: Path) -> Path:
    return path / LOCK if path.is_dir() and not path.is_symlink() else path


def _open_mark(path: Path) -> int:
    """Open the file that is locked; in a directory, it is created if it does not exist."""
    file = _locked_file(path)
    make = 0 if file == path else os.O_CREAT
    return os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | make, 0o666)


def _lock(mark: int, path: Path) -> bool:
    """Lock an open file; return False if another process has locked or removed it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        return os.path.samestat(os.fstat(mark), _locked_file(path).lstat())
    except FileNotFoundError:
        return False


def _hold(mark: int, path: Path) -> bool:
    """Lock a file that is being made; without locks it is ours too, because then nobody removes it."""
    try:
        return _lock(mark, path)
    except OSError:
        return True


def _clear(path: Path, target: Path, mark: int) -> None:
    """Finish the swap in a locked temporary, remove it, and close `mark`.

    The locked file is removed last, so that no other process starts to clear the rest. It is closed before
    its directory is removed, because NFS keeps an open file under another name.
    """
    file = _locked_file(path)
    try:
        finish_swap(path, target)
        if file != path:
            for name in os.listdir(path):
                if name != LOCK:
                    remove_any(path / name)
        file.unlink()
    finally:
        os.close(mark)
    if file != path:
        path.rmdir()


def _report_if_old(path: Path, target: Path, error: OSError) -> None:
    """Log that an old temporary may be abandoned, and what to do about it."""
    age = time.time() - max(part.lstat().st_mtime for part in (path, *path.rglob("*")))
    if age >= OLD:
        complete = pending_replacement(path, target)
        advice = (
            "remove it" if complete is None else f"put {complete} in the place of {target}, then remove it"
        )
        log_stderr(
            f"{path}: last written {age / 3600:.0f} h ago, and no lock tells whether it still is "
            f"({error.strerror}); if no command on any host is writing {target.name}, {advice}"
        )


def discard_directory(path: Path) -> None:
    """Remove a directory; its name disappears in one step, so that nobody ever sees a part of it.

    Raises:
        OSError: it cannot be removed.
    """
    aside = temporary_path(path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    except OSError:  # in a lower layer of an overlay file system, directories cannot be renamed
        aside = path
    remove_any(aside)
