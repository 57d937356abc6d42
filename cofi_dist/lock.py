"""One run at a time in a run directory.

The lock is a file that says who holds it, and whose time is renewed while its owner lives. A lock is
stale where its owner is a process of this host that is gone, or hasn't renewed it for STALE_SECONDS.
"""

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from cofi_dist.errors import RunError

FILE = ".lock"
RENEW_SECONDS, STALE_SECONDS = 10.0, 60.0


class Lock:
    """Holds the run directory until `release`, as a context.

    Args:
        run_dir: made where it isn't there.

    Raises:
        RunError: another run holds it, or it can't be written.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / FILE
        self._me = {"host": socket.gethostname(), "pid": os.getpid(), "job": job(), "since": time.time()}
        self._take()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if _owner(self._file) == self._me:
            with suppress(OSError):
                self._file.unlink()

    def _take(self) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            while True:
                try:
                    with self._file.open("x", encoding="utf-8") as file:
                        json.dump(self._me, file)
                    return
                except FileExistsError:
                    self._clear_stale()
        except OSError as error:
            raise RunError(f"{self._file}: cannot be written: {error.strerror or error}") from None

    def _clear_stale(self) -> None:
        owner = _owner(self._file)
        if owner is not None and not _is_stale(self._file, owner):
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
            raise RunError(
                f"{self._file.parent}: process {owner['pid']} on {owner['host']} is running here since"
                f" {since}; give another run_dir, or stop that run"
            )
        with suppress(FileNotFoundError):
            self._file.unlink()

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            with suppress(OSError):  # a file system that is away for a while
                os.utime(self._file)


def job() -> str:
    """The job that this process belongs to, which a restart of it does too; empty if none."""
    return os.environ.get("SLURM_JOB_ID") or os.environ.get("TORCHELASTIC_RUN_ID") or ""


def _owner(file: Path) -> dict[str, Any] | None:
    """Who holds the lock; None where nobody does, or it says nothing."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        known = {"host": str, "pid": int, "job": str, "since": float}
        return said if all(isinstance(said[key], kind) for key, kind in known.items()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_stale(file: Path, owner: dict[str, Any]) -> bool:
    if owner["job"] and owner["job"] == job():
        return True  # an earlier start of this very job, which is over
    if owner["host"] == socket.gethostname() and not _lives(owner["pid"]):
        return True
    try:
        return time.time() - file.stat().st_mtime > STALE_SECONDS
    except OSError:
        return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True
