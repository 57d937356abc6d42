"""Files and directories that appear whole: written under a temporary name, synced, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cofi_dist.errors import RunError
from cofi_dist.files.directory_swap import flush_tree_to_disk, swap
from cofi_dist.files.temporaries import clear_temporaries, temporary_directory, temporary_file
from cofi_dist.files.written_file import WrittenFile, finish_on_exit, flush_to_disk, write_failure


@contextmanager
def atomic_directory(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a temporary directory beside `target`; renames it to `target` if nothing raised.

    Args:
        target: to be made.
        replace: what is there goes when the new one is whole.

    Raises:
        RunError: `target` exists, or its parent can't be written.
    """
    clear_temporaries(target)
    if target.exists() and not replace:
        raise RunError(f"{target}: already exists; remove it or name another")
    with scratch_directory(target) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        commit_directory(new, target, old=temporary / "old")


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """Yields a new directory on the file system of `target`; it goes if it wasn't put in place.

    Raises:
        RunError: it can't be made, or what is done in it fails with an OSError, as on a full disk.
    """
    home = next(path for path in target.absolute().parents if path.exists())
    if not home.is_dir():
        raise RunError(f"{target}: cannot be written: {home} is not a directory")
    clear_temporaries(home / target.name)
    try:
        with temporary_directory(home / target.name) as temporary:
            yield temporary
    except OSError as error:
        raise RunError(f"{target}: cannot be written: {write_failure(error)}") from error


def commit_directory(directory: Path, target: Path, old: Path | None = None) -> None:
    """Sync what is in a directory of `scratch_directory`, rename it to `target`; what is there, to `old`."""
    flush_tree_to_disk(directory)
    made = _missing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if old is not None and os.path.lexists(target):
        swap(directory, target, old)
    else:
        directory.rename(target)
    _sync_names(target, *made)


def _missing(target: Path) -> list[Path]:
    """The folders that must be made to hold `target`."""
    return [folder for folder in target.parents if not folder.exists()]


def _sync_names(*paths: Path) -> None:
    """Flush to the disk that these are there: each is an entry of its parent."""
    for path in paths:
        flush_to_disk(path.parent)


def refuse_existing(file: Path, *, replace: bool) -> None:
    """Raise unless an output file may be written.

    Raises:
        RunError: it exists, and `replace` is false; or it is no regular file.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise RunError(f"{file}: is no regular file, and would be replaced by one; give another --output")
    if file.exists() and not replace:
        raise RunError(f"{file}: already exists; give another --output, or --replace")


@contextmanager
def atomic_file(target: Path) -> Iterator[WrittenFile]:
    """Yields a file to write beside `target`; renames it to `target` if nothing raised, or leaves nothing.

    Raises:
        RunError: the file can't be written.
    """
    clear_temporaries(target)
    made: list[Path] = []
    try:
        made = _missing(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(target) as (path, file):
            opened = WrittenFile(file)
            with finish_on_exit(opened):
                yield opened
            path.replace(target)
            _sync_names(target, *made)
            made = []
    except OSError as error:
        raise RunError(f"{target}: cannot be written: {write_failure(error)}") from error
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def write_atomically(target: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        RunError: it can't be written.
    """
    with atomic_file(target) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_file(file: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        RunError: it can't be removed.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{file}: cannot be removed: {write_failure(error)}") from None
