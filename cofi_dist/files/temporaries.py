"""What is written beside its place, `.NAME.0123abcd.tmp`, and what is left of it by killed commands.

Whoever writes one holds a lock of the system on it, which goes with the process. Where a file system knows of
no locks, nobody can tell: nothing is removed then, and what is old is named instead.

The lock of a directory is on a file in it, as NFS locks no directory between hosts. Every lock is exclusive,
on what is open for reading and writing, as NFS wants it.
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
OLD = 3600  # seconds since the last write; before, nobody is advised to remove what may be being written


@contextmanager
def temporary_file(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Yields the path of a new file beside `target`, and the file; it goes unless it was renamed."""
    while True:  # till it is ours before somebody clears it away
        path = temporary_path(target)
        file = path.open("x+b")
        mark = os.dup(file.fileno())  # holds the lock until the file, closed, is in its place
        if _hold(mark, path):
            break
        file.close()
        os.close(mark)
    try:
        yield path, file
    finally:
        with suppress(OSError):
            file.close()
        with suppress(OSError):  # gone by the rename
            path.unlink()
        os.close(mark)


@contextmanager
def temporary_directory(target: Path) -> Iterator[Path]:
    """Yields a new directory beside `target`; it goes, but not before a swap in it is ended."""
    while True:
        path = temporary_path(target)
        path.mkdir()
        try:
            mark = _open_mark(path)
        except FileNotFoundError:  # cleared away
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
        with suppress(OSError):  # what stays takes room, and nothing else
            _clear(path, target, mark)


def temporary_path(target: Path) -> Path:
    """A new name for what is to be renamed to `target`."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")


def clear_temporaries(target: Path, *, alone: bool = False) -> None:
    """Remove what was written beside `target` by processes that were killed; end the swaps that they began.

    Args:
        target: where it was to go.
        alone: nobody else can be writing there, as whoever has locked a run directory knows.
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
    try:
        mark = _open_mark(path)
    except FileNotFoundError:
        return
    except OSError as error:
        _name_if_old(path, target, error)
        return
    try:
        held = _lock(mark, path)
    except OSError as error:
        os.close(mark)
        _name_if_old(path, target, error)
        return
    if held:
        _clear(path, target, mark)
    else:
        os.close(mark)


def _locked_file(path: Path) -> Path:
    return path / LOCK if path.is_dir() and not path.is_symlink() else path


def _open_mark(path: Path) -> int:
    """Open what the lock is on; a directory gets its lock's file if it has none."""
    file = _locked_file(path)
    make = 0 if file == path else os.O_CREAT
    return os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | make, 0o666)


def _lock(mark: int, path: Path) -> bool:
    """Lock what is open; returns False where somebody else holds it, or has cleared it away.

    Raises:
        OSError: there are no locks here.
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
    """Lock what is being made; without locks it is ours too, as nobody removes anything then."""
    try:
        return _lock(mark, path)
    except OSError:
        return True


def _clear(path: Path, target: Path, mark: int) -> None:
    """End the swap in what is locked, remove it, and close `mark`.

    The lock's file is the last to go, so that nobody else finds a part to clear. It is closed before its
    directory goes: NFS keeps a file that is open, under another name.
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


def _name_if_old(path: Path, target: Path, error: OSError) -> None:
    age = time.time() - max(part.lstat().st_mtime for part in (path, *path.rglob("*")))
    if age >= OLD:
        whole = pending_replacement(path, target)
        advice = "remove it" if whole is None else f"put {whole} in the place of {target}, then remove it"
        log_stderr(
            f"{path}: last written {age / 3600:.0f} h ago, and no lock tells whether it still is "
            f"({error.strerror}); if no command on any host is writing {target.name}, {advice}"
        )


def discard_directory(path: Path) -> None:
    """Remove a directory in one step, so that nobody ever sees a part of it; then what was in it.

    Raises:
        OSError: it can't be removed.
    """
    aside = temporary_path(path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    except OSError:  # one of an overlay's lower layer can't be renamed
        aside = path
    remove_any(aside)
