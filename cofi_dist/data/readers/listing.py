"""Find the files that ratings are given as: one file, a folder of parts, a pattern, URLs, or a list of these.

The files of a folder and of a pattern are read in the order of their paths as text, those of a list in its
order. What begins with . or _ is left out, as Spark's _SUCCESS and _metadata are.
"""

import errno
import glob
import os
import re
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path, PurePath
from typing import TypeAlias

from cofi_dist.data.readers.layout import SEPARATORS, FilePath, format_of
from cofi_dist.data.readers.object_store import ObjectUrl, find_objects
from cofi_dist.errors import DataError
from cofi_dist.files.paths import is_url

Given: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]

PATTERN = re.compile(r"[*?\[]")
KINDS = (*SEPARATORS, ".parquet")  # of files that can be read
# Folders in which tables keep the log that says which of their files count.
TABLE_LOGS = {"_delta_log": "a Delta table", ".hoodie": "a Hudi table"}


def find_files(given: Given) -> tuple[FilePath, ...]:
    """Return the files that a path, a pattern, a URL or a list of these stands for.

    A path of something that exists is that file or folder, whatever its name; only else is it a pattern.

    Raises:
        DataError: nothing is found, a file is found twice, or the files are of several kinds.
    """
    names = [given] if isinstance(given, str | PathLike) else given
    found = [file for name in names for file in _files_of(os.fspath(name))]
    _refuse_mixture(found, [os.fspath(name) for name in names])
    _refuse_repeats(found)
    return tuple(found)


def name_of(given: Given) -> str:
    """Return what messages call the files."""
    if isinstance(given, str | PathLike):
        return os.fspath(given)
    names = [os.fspath(name) for name in given]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def identity(file: FilePath) -> str:
    """Return what is the same for all names of a file, where links lead to it."""
    return str(file) if isinstance(file, ObjectUrl) else os.path.realpath(file)


def folders_and_files(given: Given) -> list[Path]:
    """Return the local paths that a run may not overwrite: the files, the folders, and those of patterns."""
    names = [given] if isinstance(given, str | PathLike) else given
    paths = [os.fspath(name) for name in names]
    return [_without_pattern(path)[0] for path in paths if not is_url(path)]


def _files_of(name: str) -> Sequence[FilePath]:
    """Return the files that one name stands for."""
    if is_url(name):
        return _without_hidden(name, find_objects(ObjectUrl(name)))
    start, pattern = _without_pattern(name)
    if not pattern:
        if not os.path.isdir(start):
            return [start]  # `require_file` says what is wrong with it
        files = sorted(_files_in(start), key=str)
        if not files:
            raise DataError(f"{name}: is a folder without files; what begins with . or _ is left out")
        return files
    _refuse_unreadable_folders(start, pattern)
    parts = glob.glob(pattern, root_dir=start, recursive=True)
    if not any(_is_left_out(part) for part in PurePath(pattern).parts):
        parts = [part for part in parts if not any(map(_is_left_out, PurePath(part).parts))]
    matches = {start / part for part in parts}
    folders = {match for match in matches if match.is_dir()}
    matches = matches - folders | {file for folder in folders for file in _files_in(folder)}
    if not matches:
        raise DataError(f"{name}: there is no such file, and none that matches it as a pattern")
    return sorted(matches, key=str)


def _without_hidden(name: str, found: list[ObjectUrl]) -> list[ObjectUrl]:
    """Leave out what is in a folder that is left out, unless the name asks for such."""
    if any(map(_is_left_out, PurePath(name).parts)):
        return found
    kept = [url for url in found if not any(map(_is_left_out, PurePath(url.url).parts))]
    if not kept:
        raise DataError(f"{name}: there are no files; what begins with . or _ is left out")
    return kept


def _without_pattern(name: str) -> tuple[Path, str]:
    """Return the path up to the first part that is a pattern, and the rest; empty if there is no pattern."""
    path = Path(name)
    parts = path.parts
    for k, part in enumerate(parts):
        before = Path(*parts[:k])
        if PATTERN.search(part) and not os.path.lexists(before / part):
            return before, os.path.join(*parts[k:])
    return path, ""


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield all files in a folder and in the folders in it.

    Raises:
        DataError: a folder cannot be read, holds itself, or is a table with a log of its own.
    """
    for directory, inner, names in os.walk(folder, onerror=_refuse_unreadable, followlinks=True):
        _refuse_loop(Path(directory))
        for log, table in TABLE_LOGS.items():
            if log in inner:
                raise DataError(
                    f"{directory}: is {table}, whose log says which of its files count; write its rows into"
                    " a Parquet file"
                )
        inner[:] = [name for name in inner if not _is_left_out(name)]
        yield from (Path(directory, name) for name in names if not _is_left_out(name))


def _is_left_out(name: str) -> bool:
    """Tell whether a file or folder is none of ratings; the column of a Hive partition may begin with _."""
    return (name.startswith((".", "_")) and "=" not in name) or name.endswith(".crc")


def _refuse_unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read: {error.strerror or error}")


def _refuse_unreadable_folders(start: Path, pattern: str) -> None:
    """Raise DataError for a folder in which files may match, but that cannot be read: glob passes it over."""
    parts = PurePath(pattern).parts
    for k in range(len(parts)):
        for folder in glob.glob(os.path.join(*parts[:k], ""), root_dir=start, recursive=True) if k else [""]:
            place = start / folder
            if os.path.isdir(place) and not os.access(place, os.R_OK | os.X_OK):
                raise DataError(f"{place}: cannot be read: {os.strerror(errno.EACCES)}")


def _refuse_loop(folder: Path) -> None:
    """Raise DataError if a folder is a link to one that it is in, which would have no end."""
    if (
        folder.is_symlink()
        and Path(os.path.realpath(folder)) in Path(os.path.realpath(folder.parent), "x").parents
    ):
        raise DataError(f"{folder}: is a link to a folder that it is in; remove it")


def _refuse_mixture(files: Sequence[FilePath], names: Sequence[str]) -> None:
    """Raise DataError if files are of several kinds; name one of the kind that least likely was meant."""
    kinds = list(dict.fromkeys(map(format_of, files)))
    if len(kinds) < 2:
        return
    meant = next((kind for kind in kinds if kind in KINDS), kinds[0])
    first = next(file for file in files if format_of(file) == meant)
    other = next(file for file in files if format_of(file) != meant)
    do = "give files of one kind"
    if len(names) == 1 and isinstance(first, Path) and os.path.isdir(names[0]) and meant in KINDS:
        ending = meant if first.suffix == meant else f"{meant}*"  # also of packed ones
        do += f", as a pattern does: {PurePath(names[0])}/**/*{ending}"
    raise DataError(f"{other}: is of another kind than {first}; {do}")


def _refuse_repeats(files: Sequence[FilePath]) -> None:
    seen: dict[str, FilePath] = {}
    for file in files if len(files) > 1 else ():
        same = identity(file)
        if same in seen:
            which = "" if str(file) == str(seen[same]) else f", which is the same as {seen[same]}"
            raise DataError(f"{file}{which}: is named twice; name it once")
        seen[same] = file
