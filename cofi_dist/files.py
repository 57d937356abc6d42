"""Files that are whole or not there: written under a temporary name, synced, then renamed."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cofi_dist.errors import RunError


@contextmanager
def whole_directory(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary directory beside `target`; renames it to `target` if nothing raised.

    Args:
        target: to be made.
        replace: what is there goes when the new one is whole.

    Raises:
        RunError: `target` exists, or its parent can't be written.
    """
    if target.exists() and not replace:
        raise RunError(f"{target}: already exists; remove it or name another")
    with scratch_directory(target) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        put_in_place(new, target, old=temporary / "old")


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """Yields a new directory on the file system of `target`; it goes if it wasn't put in place.

    Raises:
        RunError: it can't be made, or what is done in it fails with an OSError, as on a full disk.
    """
    home = next(path for path in target.absolute().parents if path.exists())
    if not home.is_dir():
        raise RunError(f"{target}: cannot be written: {home} is not a directory")
    temporary = home / _name_beside(target)
    try:
        temporary.mkdir()
        yield temporary
    except OSError as error:
        raise RunError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(directory: Path, target: Path, old: Path | None = None) -> None:
    """Sync what is in a directory of `scratch_directory`, rename it to `target`; what is there, to `old`."""
    for path in (*directory.rglob("*"), directory):
        sync(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if old is not None and target.exists():
        target.rename(old)
    try:
        directory.rename(target)
    except OSError:
        if old is not None and old.exists():
            old.rename(target)
        raise
    sync(target.parent)


def refuse_existing(file: Path, *, replace: bool) -> None:
    """Raise unless an output file may be written.

    Raises:
        RunError: it exists, and `replace` is false.
    """
    if file.exists() and not replace:
        raise RunError(f"{file}: already exists; give another --output, or --replace")


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside `target`; renames it to `target` if nothing raised.

    Raises:
        RunError: the file can't be written.
    """
    temporary = target.with_name(_name_beside(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    except OSError as error:
        raise RunError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # gone by the rename, or never there
            temporary.unlink()


def _name_beside(target: Path) -> str:
    return f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"


def clear_temporaries(target: Path) -> None:
    """Remove what was written beside `target` by processes that were killed; none may be writing it now."""
    with suppress(OSError):  # what stays takes room, and nothing else
        for path in target.parent.glob(f".{target.name}.{'[0-9a-f]' * 8}.tmp"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def remove(file: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        RunError: it can't be removed.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{file}: cannot be removed: {error.strerror or error}") from None


def sync(path: Path) -> None:
    """Flush a file's bytes, or a directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
