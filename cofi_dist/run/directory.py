"""The run directory: what lies in it, and how one is begun.

MARKER says that the files of these names are ours: nothing is deleted where it is missing, but what
was left half-written under a temporary name. It is made by the one job that has the directory's lock.
"""

import json
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cofi_dist.errors import RunError, SaveError
from cofi_dist.files.atomic import remove_file, write_atomically
from cofi_dist.files.temporaries import clear_temporaries, discard_directory
from cofi_dist.run_layout import CONFIG, FILES, FOLDERS, LOCK, MARKER, RESULT, SHARDS, STOP, is_run


def require_free(directory: Path, *, replace: bool, inputs: Sequence[Path]) -> None:
    """Raise unless a run may begin in `directory`; touches nothing.

    Args:
        directory: the run directory.
        replace: a run that it holds may be lost.
        inputs: files and checkpoints that this run reads.

    Raises:
        RunError: it holds a run and `replace` is false; or files that no run of ours wrote stand
            where a run would write; or an input does.
    """
    try:
        directory.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{directory}: cannot be used as run_dir: {error.strerror or error}") from None
    if directory.exists() and not directory.is_dir():
        raise RunError(f"{directory}: is a file; give another run_dir")
    if directory.is_symlink() and not directory.exists():
        raise RunError(f"{directory}: is a link that leads nowhere; give another run_dir")
    ours = [directory / name for name in (*FILES, *FOLDERS)]
    for file in inputs:
        inside = any(file.resolve().is_relative_to(path.resolve()) for path in ours)
        if inside or file.resolve() == directory.resolve():
            raise RunError(
                f"{directory}: this run would overwrite its own input {file}; give another run_dir"
            )
    there = [path for path in ours if os.path.lexists(path)]
    if (directory / MARKER).exists():
        if not replace:
            raise RunError(
                f"{directory}: already holds a run; give another run_dir, or checkpoint.resume=auto to go on"
                " with that run, or --replace to lose it"
            )
    elif there:
        raise RunError(
            f"{there[0]}: stands where a run would write, and no run wrote it; give another run_dir"
        )
    require_own_files(directory)


def require_own_files(directory: Path) -> None:
    """Raise unless what stands under a run's names is what a run makes: files and folders, no links.

    Raises:
        RunError: names the first that is something else, or that can't be looked at.
    """
    for names, wanted, is_wanted in (
        ((*FILES, MARKER, LOCK, STOP), "file", stat.S_ISREG),
        (FOLDERS, "folder", stat.S_ISDIR),
    ):
        for path in (directory / name for name in names):
            try:
                if not is_wanted(path.lstat().st_mode):
                    raise RunError(f"{path}: is no {wanted} of a run's; remove it, or give another run_dir")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise RunError(f"{path}: cannot be used by a run: {error.strerror or error}") from None


def require_run(directory: Path) -> None:
    """Raise unless the run that was begun here is still there.

    Raises:
        SaveError: somebody deleted it, or its file system is away.
    """
    if not is_run(directory):
        raise SaveError(
            f"{directory}: is gone, or its file system is; nothing more was saved; when it is back, go on"
            " from its last checkpoint with checkpoint.resume=auto"
        )


def begin_run(directory: Path) -> None:
    """Take the directory: clear a run of ours that is in it, and mark it. Other files stay.

    Raises:
        RunError: the directory can't be made or cleared, or another job took it just now.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / MARKER).exists():
            _clear(directory)
        (directory / MARKER).touch(exist_ok=False)
    except FileExistsError:
        raise RunError(f"{directory}: another job has just begun here; give another run_dir") from None
    except OSError as error:
        raise RunError(f"{directory}: cannot be used as run_dir: {error.strerror or error}") from None


def remove_temporaries(directory: Path) -> None:
    """Remove what starts that were killed had begun to write; only for whoever holds the directory's lock."""
    for name in (*FILES, *FOLDERS):
        clear_temporaries(directory / name, alone=True)


def discard_run(directory: Path) -> None:
    """Take back what a start that failed has made.

    Raises:
        RunError: the directory can't be cleared.
    """
    try:
        _clear(directory)
        (directory / LOCK).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{directory}: cannot be cleared: {error.strerror or error}") from None
    with suppress(OSError):  # somebody else's files are in it
        directory.rmdir()


def _clear(directory: Path) -> None:
    assert (directory / MARKER).exists(), "not ours to delete"
    for name in FILES:
        (directory / name).unlink(missing_ok=True)
    for name in FOLDERS:
        discard_directory(directory / name)
    (directory / MARKER).unlink()  # last: a clearing that breaks off can be done again


def save_config(directory: Path, text: str) -> None:
    """The resolved config, as `Config.to_yaml` gives it."""
    write_atomically(directory / CONFIG, text)


def save_shards(directory: Path, shards: dict[str, Any]) -> None:
    """How the run is spread: world_size, device, backend, and each rank's users and ratings."""
    _save_json(directory / SHARDS, shards)


def save_result(directory: Path, result: dict[str, Any]) -> None:
    """How the run ended: what a `Result` holds."""
    _save_json(directory / RESULT, result)


def remove_result(directory: Path) -> None:
    """The run goes on: it has not ended yet.

    Raises:
        RunError: what it says of its end can't be removed.
    """
    remove_file(directory / RESULT)


def _save_json(file: Path, values: dict[str, Any]) -> None:
    write_atomically(file, json.dumps(values, indent=1) + "\n")
