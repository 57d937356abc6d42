"""Hold the paths of a run directory, and claim it, begin a run in it and write its small files."""

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from cofi_dist import run_layout
from cofi_dist.errors import RunError, SaveError
from cofi_dist.files.atomic import remove_file, write_atomically
from cofi_dist.files.temporaries import clear_temporaries, discard_directory
from cofi_dist.run.lock import Lock
from cofi_dist.run.stop import clear_stop_file
from cofi_dist.run_layout import FILES, FOLDERS, LOCK, MARKER, STOP
from cofi_dist.run_result import Result, is_finished, read_result
from cofi_dist.streams import exit_now


class RunDirectory:
    """Give the paths of one run directory, and act on it.

    Args:
        path: the directory, which need not exist yet.

    Attributes:
        path: the directory.
        config, metrics, shards, model, data, checkpoints, marker: paths in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / run_layout.CONFIG
        self.metrics = self.path / run_layout.METRICS
        self.shards = self.path / run_layout.SHARDS
        self.model = self.path / run_layout.MODEL
        self.data = self.path / run_layout.DATA
        self.checkpoints = self.path / run_layout.CHECKPOINTS
        self.marker = self.path / MARKER
        self._result = self.path / run_layout.RESULT
        self._is_claimed = False

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_run(self) -> bool:
        """Tell whether a run has begun here."""
        return run_layout.is_run(self.path)

    @property
    def is_finished(self) -> bool:
        """Tell whether the run here has completed; see `run_result.is_finished`."""
        return is_finished(self.path)

    def require_free(self, *, replace: bool, inputs: Sequence[Path]) -> None:
        """Raise unless a new run may begin here; nothing is touched.

        Args:
            replace: whether a run that is here may be deleted.
            inputs: files and checkpoints that the new run reads.

        Raises:
            RunError: a run is here and `replace` is false; or there are files with a run's names that no run
                wrote; or the new run would overwrite its own input.
        """
        path = self.path
        try:
            path.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunError(f"{path}: cannot be used as run_dir: {error.strerror or error}") from None
        if path.exists() and not path.is_dir():
            raise RunError(f"{path}: is a file; give another run_dir")
        if path.is_symlink() and not path.exists():
            raise RunError(f"{path}: is a link that leads nowhere; give another run_dir")
        self._require_not_input(inputs)
        existing = [path for path in self._own_paths() if os.path.lexists(path)]
        if self.marker.exists():
            if not replace:
                raise RunError(
                    f"{path}: already holds a run; give another run_dir, or checkpoint.resume=auto to go on"
                    " with that run, or --replace to lose it (in Python: delete it)"
                )
        elif existing:
            raise RunError(
                f"{existing[0]}: stands where a run would write, and no run wrote it; give another run_dir"
            )
        self.require_own_files()

    def _require_not_input(self, inputs: Sequence[Path]) -> None:
        for file in inputs:
            inside = any(file.resolve().is_relative_to(path.resolve()) for path in self._own_paths())
            if inside or file.resolve() == self.path.resolve():
                raise RunError(f"{self}: this run would overwrite its own input {file}; give another run_dir")

    def _own_paths(self) -> list[Path]:
        return [self.path / name for name in (*FILES, *FOLDERS)]

    def require_own_files(self) -> None:
        """Raise unless each path with a run's name is a file or folder as a run makes it, and not a link.

        Raises:
            RunError: names the first path that is something else, or cannot be looked at.
        """
        for names, kind, is_kind in (
            ((*FILES, MARKER, LOCK, STOP), "file", stat.S_ISREG),
            (FOLDERS, "folder", stat.S_ISDIR),
        ):
            for path in (self.path / name for name in names):
                try:
                    if not is_kind(path.lstat().st_mode):
                        raise RunError(
                            f"{path}: is not a {kind} that a run created; remove it, or give another run_dir"
                        )
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise RunError(f"{path}: cannot be used by a run: {error.strerror or error}") from None

    def require_run(self) -> None:
        """Raise unless the run that began here is still here.

        Raises:
            SaveError: somebody deleted it, or its file system is away.
        """
        if not self.is_run:
            raise SaveError(
                f"{self}: is gone, or its file system is; nothing more was saved; when it is back, go on"
                " from its last checkpoint with checkpoint.resume=auto"
            )

    @contextmanager
    def claim(self, on_lost: Callable[[SaveError], object] = exit_now) -> Iterator[None]:
        """Lock the directory, and remove the stop file and the temporary files of earlier starts.

        The ratings are prepared under the lock, so that no two processes prepare them at once, and so that
        temporary files are known to belong to processes that are dead.

        A claim within another one of the same object does nothing.

        Args:
            on_lost: called if another run takes the directory over; see `Lock`.

        Raises:
            HeldError: another run holds the lock.
            RunError: the directory cannot be written.
        """
        if self._is_claimed:
            yield
            return
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            with Lock(self.path, on_lost):
                self._is_claimed = True
                clear_stop_file(self.path)
                self._remove_temporaries()
                yield
        finally:
            self._is_claimed = False
            for folder in made:
                with suppress(OSError):  # something was begun in it
                    folder.rmdir()

    def _remove_temporaries(self) -> None:
        for path in self._own_paths():
            clear_temporaries(path, alone=True)

    def begin(self) -> None:
        """Delete the run that is here, if any, and mark the directory as a run's; other files stay.

        Raises:
            RunError: the directory cannot be made or cleared, or another job has just begun here.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self.marker.exists():
                self._clear()
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            raise RunError(f"{self}: another job has just begun here; give another run_dir") from None
        except OSError as error:
            raise RunError(f"{self}: cannot be used as run_dir: {error.strerror or error}") from None

    def discard(self) -> None:
        """Delete the run that is here.

        Raises:
            RunError: the directory cannot be cleared.
        """
        try:
            self._clear()
            (self.path / LOCK).unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"{self}: cannot be cleared: {error.strerror or error}") from None
        with suppress(OSError):  # somebody else's files are in it
            self.path.rmdir()

    def _clear(self) -> None:
        assert self.marker.exists(), "not ours to delete"
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        for name in FOLDERS:
            discard_directory(self.path / name)
        self.marker.unlink()  # last, so that an interrupted clearing can be repeated

    def save_config(self, text: str) -> None:
        """Write the resolved config, as `Config.to_yaml` returns it."""
        write_atomically(self.config, text)

    def save_shards(self, shards: dict[str, Any]) -> None:
        """Write how the users and ratings are spread over the ranks."""
        _write_json(self.shards, shards)

    def read_result(self) -> Result | None:
        """Return the outcome of the run, or None if it has not ended; see `run_result.read_result`."""
        return read_result(self.path)

    def save_result(self, result: dict[str, Any]) -> None:
        """Write the outcome of the run, with the keys of a `Result`."""
        _write_json(self._result, result)

    def remove_result(self) -> None:
        """Remove the outcome of the run, which is being resumed.

        Raises:
            RunError: the file cannot be removed.
        """
        remove_file(self._result)


def _write_json(file: Path, values: dict[str, Any]) -> None:
    write_atomically(file, json.dumps(values, indent=1) + "\n")


class ProvisionalRun:
    """Discard a new run at the end of the context, unless `keep` has been called before.

    Args:
        directory: the run directory.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self._directory, self._is_provisional = directory, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_provisional and self._directory.is_run:
            self._directory.discard()

    def begin(self) -> None:
        """Begin the run, provisionally."""
        self._is_provisional = True  # first: a signal may interrupt the rest
        self._directory.begin()

    def keep(self) -> None:
        """Keep the run whatever happens from now on."""
        self._is_provisional = False
