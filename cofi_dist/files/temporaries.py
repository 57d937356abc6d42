"""What is written beside its place, `.NAME.0123abcd.tmp`, and what is left of it by killed commands.

Whoever writes one holds a lock of the system on it, which goes with the process. Where a file system knows of
no locks, nobody can tell, and what may have been left is named instead of removed.
"""

import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cofi_dist.files.swapping import finish_swap, remove_any
from cofi_dist.streams import say


@contextmanager
def temporary_file(target: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Yields the path of a new file beside `target`, and the file; it goes unless it was renamed."""
    while True:  # till it is ours before somebody clears it away
        path = beside(target)
        file = path.open("xb")
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
        path = beside(target)
        path.mkdir()
        mark = os.open(path, os.O_RDONLY)
        if _hold(mark, path):
            break
        os.close(mark)
    try:
        yield path
    finally:
        with suppress(OSError):  # what stays takes room, and nothing else
            _clear(path, target)
        os.close(mark)


def beside(target: Path) -> Path:
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
                    _clear(path, target)
                else:
                    _clear_abandoned(path, target)


def _clear_abandoned(path: Path, target: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(path, target)
    except BlockingIOError:
        pass  # it is being written
    except OSError as error:
        say(f"{path}: is left of a killed command, or being written ({error.strerror}); remove it if not")
    finally:
        os.close(descriptor)


def _clear(path: Path, target: Path) -> None:
    finish_swap(path, target)
    remove_any(path)


def discard(path: Path) -> None:
    """Remove a directory in one step, so that nobody ever sees a part of it; then what was in it.

    Raises:
        OSError: it can't be removed.
    """
    aside = beside(path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    except OSError:  # one of an overlay's lower layer can't be renamed
        aside = path
    remove_any(aside)


def _hold(descriptor: int, path: Path) -> bool:
    """Lock what is opened; returns False where somebody has cleared it away before."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here: nobody else will get one either
        pass
    return os.path.lexists(path)
