"""One run at a time in a run directory.

The lock is a file that says who holds it, and whose time is renewed while its owner lives. A lock is
stale where its owner is a process of this host that is gone. Of an owner that can't be looked for it is
watched for as long as it takes to see that nobody renews it: at once where that is an earlier start of this
very job, or of this container; else once it looks STALE_SECONDS old. A run that has lost its lock ends.
"""

import json
import math
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from cofi_dist.environment import read
from cofi_dist.errors import LostError, RunError
from cofi_dist.streams import leave

FILE = ".lock"
RENEW_SECONDS, STALE_SECONDS = 10.0, 60.0
LAST_SECOND = 1e11  # of a time that can be said in words
SETTLE_SECONDS = 2.0  # in which whoever has made the file also writes into it


class Lock:
    """Holds the run directory until `release`, as a context.

    Args:
        run_dir: made where it isn't there.

    Raises:
        RunError: another run holds it, or it can't be written.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / FILE
        self._me = {
            "host": socket.gethostname(),
            "space": _space(),
            "pid": os.getpid(),
            "start": _start(os.getpid()),
            "job": job(),
            "since": time.time(),
        }
        self._take()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        with suppress(OSError):
            if _owner(self._file.read_bytes()) == self._me:
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
        try:
            looked_at = self._file.read_bytes()
        except FileNotFoundError:
            return
        owner = _owner(looked_at)
        if owner is None and _age(self._file) < SETTLE_SECONDS:
            time.sleep(0.05)
            return
        if owner is not None and not _is_stale(self._file, owner):
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
            raise RunError(
                f"{self._file.parent}: process {owner['pid']} on {owner['host']} is running here since"
                f" {since}; give another run_dir, or stop that run"
            )
        # two may find it stale: one of them gets it, and none takes away the lock that the other makes then
        aside = self._file.with_name(f"{FILE}.{uuid.uuid4().hex}")
        with suppress(FileNotFoundError):
            self._file.rename(aside)
            if aside.read_bytes() != looked_at:
                with suppress(FileExistsError):
                    os.link(aside, self._file)
            aside.unlink()

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            with suppress(OSError):  # a file system that is away for a while
                if not self._is_ours():
                    self._yield()
                os.utime(self._file)

    def _yield(self) -> None:
        # at once: on the usual way out it would write where another run does
        leave(
            LostError(
                f"{self._file}: is not this run's any more: another run has taken the directory over, or"
                " somebody removed it; nothing more was saved; look what runs there before you go on"
            )
        )

    def _is_ours(self) -> bool:
        try:
            return _owner(self._file.read_bytes()) == self._me
        except FileNotFoundError:
            # who took it over has ended; unless the whole directory is away, which the next save will say
            return not self._file.parent.exists()


def job() -> str:
    """The job that this process belongs to, which a restart of it does too; empty if none."""
    return read("SLURM_JOB_ID") or read("TORCHELASTIC_RUN_ID")


def _space() -> str:
    """Where this process's number is its own: in one boot of one host or container; empty if not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _owner(content: bytes) -> dict[str, Any] | None:
    """Who holds the lock of this content; None where it says nothing."""
    try:
        said = json.loads(content)
        known = {"host": str, "space": str, "pid": int, "start": str, "job": str, "since": float}
        is_whole = all(isinstance(said[key], kind) for key, kind in known.items())
        return said if is_whole and 0 <= said["since"] < LAST_SECOND else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_stale(file: Path, owner: dict[str, Any]) -> bool:
    same_host = owner["host"] == socket.gethostname()
    if same_host and owner["space"] == _space():
        return not _lives(owner["pid"], owner["start"])
    try:
        # containers may have one name, and a host another boot: what is there may live, or be gone
        same_job = bool(owner["job"]) and owner["job"] == job()
        # its age is by two clocks, which may differ: so that alone makes no lock stale
        is_doubtful = same_host or same_job or _age(file) > STALE_SECONDS
        return is_doubtful and not _is_renewed(file)
    except FileNotFoundError:
        return True


def _age(file: Path) -> float:
    """Seconds since the lock was renewed, by its file system's clock and ours; infinite where it is gone."""
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return math.inf


def _is_renewed(file: Path) -> bool:
    """Watch for as long as its owner may let pass."""
    first, deadline = _renewed_at(file), time.monotonic() + RENEW_SECONDS * 1.2
    while time.monotonic() < deadline:
        time.sleep(RENEW_SECONDS / 20)
        if _renewed_at(file) != first:
            return True
    return False


def _renewed_at(file: Path) -> int:
    with file.open("rb") as opened:  # opened anew, NFS asks its server
        return os.fstat(opened.fileno()).st_mtime_ns


def _lives(pid: int, start: str) -> bool:
    """Whether the process that began then is there, and not a later one of its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return _start(pid) in (start, "")


def _start(pid: int) -> str:
    """When a process began, as the kernel counts; empty where that can't be told, `gone` of a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if after_name[0] == "Z" else after_name[19]
