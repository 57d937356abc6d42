"""Write files and directories that appear complete: under a temporary name, flushed, then renamed."""

import errno
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
    """Yield a temporary directory beside `target`, which is renamed to `target` if nothing is raised.

    Args:
        target: the directory to make.
        replace: whether an existing `target` is replaced once the new directory is complete.

    Raises:
        RunError: `target` exists and is not to be replaced, or its parent cannot be written.
    """
    clear_temporaries(target)
    existing = RunError(f"{target}: already exists; remove it or name another")
    if target.exists() and not replace:
        raise existing
    with scratch_directory(target) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        try:
            commit_directory(new, target, old=temporary / "old" if replace else None)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process has just made it
                raise existing from None
            raise


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory on the file system of `target`, which is removed at the end.

    Raises:
        RunError: it cannot be made, or work in it fails with an OSError, as on a full disk.
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
    """Flush a directory to the disk, and rename it to `target`.

    Args:
        directory: a directory inside a `scratch_directory`.
        target: its final place.
        old: where an existing `target` is moved to; None to replace none.
    """
    flush_tree_to_disk(directory)
    made = _missing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if old is not None and os.path.lexists(target):
        swap(directory, target, old)
    else:
        directory.rename(target)
    _sync_names(target, *made)


def _missing(target: Path) -> list[Path]:
    """Return the folders above `target` that do not exist yet."""
    return [folder for folder in target.parents if not folder.exists()]


def _sync_names(*paths: Path) -> None:
    """Flush the directory entries of these paths to the disk."""
    for path in paths:
        flush_to_disk(path.parent)


def refuse_existing(file: Path, *, replace: bool) -> None:
    """Raise unless an output file may be written.

    Raises:
        RunError: it exists and `replace` is false, or it is not a regular file.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise RunError(f"{file}: is no regular file, and would be replaced by one; give another --output")
    if file.exists() and not replace:
        raise RunError(f"{file}: already exists; give another --output, or --replace")


@contextmanager
def atomic_file(target: Path) -> Iterator[WrittenFile]:
    """Yield a temporary file beside `target`, which is renamed to `target` if nothing is raised.

    If something is raised, nothing is left behind.

    Raises:
        RunError: the file cannot be written.
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
    """Write a file completely or not at all.

    Raises:
        RunError: it cannot be written.
    """
    with atomic_file(target) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_file(file: Path) -> None:
    """Remove a file, if it exists.

    Raises:
        RunError: it cannot be removed.
    """
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{file}: cannot be removed: {write_failure(error)}") from None
