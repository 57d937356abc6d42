"""Let only one run at a time use a run directory, by a lock file.

The file names its owner, who renews its modification time every few seconds. If the owner was a process of
this host and is gone, the lock is stale. If the owner runs on another host, we cannot check whether its
process is alive. We then watch the file: if it is not renewed within a few renewal intervals, it is stale. We
start watching at once if the owner is an earlier attempt of the same job or container, or if the lock was
copied along with its directory; otherwise only after the lock is STALE_SECONDS old. A run that has lost its
lock ends.

Several processes may find the same lock stale at once, and each may be delayed at any point. To remove the
lock, a process therefore first creates a file that is named after the lock's content, which only one process
can do. It then checks that the lock still has that content, and removes it. After that, any process may
create a new lock.
"""

import hashlib
import json
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from cofi_dist.errors import RunError, SaveError
from cofi_dist.files.reading import open_regular
from cofi_dist.run.process_identity import is_alive, job, pid_space, start_time
from cofi_dist.run_layout import LOCK
from cofi_dist.streams import exit_now

RENEW_SECONDS, STALE_SECONDS = 3.0, 60.0
MAX_MISSED_RENEWALS = 4  # consecutive ones; a live owner does not miss as many
LAST_SECOND = 1e11  # the latest time that can be formatted
SETTLE_SECONDS = 2.0  # within which a process that has created the file also writes its content
MAX_BYTES = 2**16  # of a lock file


class HeldError(RunError):
    """Report that another process holds the lock."""


class Seen(NamedTuple):
    """Hold a lock file at the time it was read.

    Attributes:
        content: names the owner.
        inode: inode of the file.
        renewed: modification time, in nanoseconds of the file system's clock.
    """

    content: bytes
    inode: int
    renewed: int


class Lock:
    """Hold the lock of a run directory during the context.

    Args:
        run_dir: the run directory, which is created if it does not exist.
        on_lost: called from another thread if the lock is lost, so that nothing more is written. By default,
            the process ends at once: on the usual way out it would still write files.

    Raises:
        HeldError: another run holds the lock.
        RunError: the directory cannot be written.
    """

    def __init__(self, run_dir: Path, on_lost: Callable[[SaveError], object] = exit_now) -> None:
        self._file, self._on_lost = run_dir / LOCK, on_lost
        self._me = {
            "host": socket.gethostname(),
            "space": pid_space(),
            "pid": os.getpid(),
            "start": start_time(os.getpid()),
            "job": job(),
            "since": time.time(),
        }
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        try:
            self._take()
            self._thread.start()
        except BaseException:  # such as a signal's
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._release()

    def _release(self) -> None:
        with suppress(OSError):
            if _owner(_look(self._file).content) == self._me:
                self._file.unlink()

    def _take(self) -> None:
        try:
            while not self._try():
                pass
        except OSError as error:
            raise RunError(f"{self._file}: cannot be written: {error.strerror or error}") from None
        for left in self._file.parent.glob(f"{LOCK}.{'[0-9a-f]' * 32}"):  # left by killed processes
            with suppress(OSError):
                if _age(left) > STALE_SECONDS:
                    left.unlink()

    def _try(self) -> bool:
        """Try to create the lock; return False if the directory was removed meanwhile.

        Raises:
            HeldError: another process holds the lock.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        candidate = self._file.with_name(f"{LOCK}.{uuid.uuid4().hex}")
        try:
            with candidate.open("x", encoding="utf-8") as opened:
                self._me["inode"] = os.fstat(opened.fileno()).st_ino
                json.dump(self._me, opened)
            while not self._create(self._file, candidate):
                self._clear_stale(self._file, candidate)
        except FileNotFoundError:  # another start has removed the candidate or its directory
            return False
        finally:
            candidate.unlink(missing_ok=True)
        return True

    def _create(self, file: Path, candidate: Path) -> bool:
        """Create a file with the candidate's content in one step; return whether this process did so."""
        try:
            os.link(candidate, file)
        except FileExistsError:
            with suppress(FileNotFoundError):
                return candidate.samefile(file)  # the server's answer may have been lost
            return False
        except FileNotFoundError:
            raise
        except OSError:  # the file system has no hard links
            self._me["inode"] = None
            try:
                with file.open("x", encoding="utf-8") as opened:
                    json.dump(self._me, opened)
            except FileExistsError:
                return False
        return True

    def _clear_stale(self, file: Path, candidate: Path) -> None:
        """Remove a stale lock, or a stale right to remove one, which a killed process has left.

        Raises:
            RunError: the lock is not stale.
        """
        with suppress(FileNotFoundError):
            seen = _look(file)
            owner = _owner(seen.content)
            if owner is None and _changes(file, SETTLE_SECONDS):
                return
            if owner is not None and not _is_stale(file, seen.inode, owner):
                raise self._refusal(owner, seen.inode)
            content = hashlib.md5(seen.content, usedforsecurity=False)
            right = self._file.with_name(f"{LOCK}.{content.hexdigest()}")
            if self._create(right, candidate):
                _remove(file, seen, right)
            else:
                self._clear_stale(right, candidate)

    def _refusal(self, owner: dict[str, Any], inode: int) -> HeldError:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
        is_copy = _is_copy(owner, inode)
        copied = f"; where it was copied from that run's, remove {self._file}" if is_copy else ""
        return HeldError(
            f"{self._file.parent}: process {owner['pid']} on {owner['host']} has been running here since"
            f" {since}; give another run_dir, or stop that run{copied}"
        )

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            with suppress(OSError):  # the file system may be away for a while
                if not self._is_ours():
                    break
                os.utime(self._file)
        else:
            return
        self._on_lost(
            SaveError(
                f"{self._file}: is not this run's any more: another run has taken the directory over, or"
                " somebody removed it; nothing more was saved; look what runs there before you go on"
            )
        )

    def _is_ours(self) -> bool:
        try:
            return _owner(_look(self._file).content) == self._me
        except FileNotFoundError:
            # Another run took it over and has ended; or the directory is gone, which the next save reports.
            return not self._file.parent.exists()


def last_renewal(run_dir: Path) -> int:
    """Return when the lock of a run directory was renewed, in ns by the file system; 0 without one."""
    try:
        return _look(run_dir / LOCK).renewed
    except OSError:
        return 0


def _look(file: Path) -> Seen:
    with open_regular(file, MAX_BYTES) as opened:  # opening a file makes NFS ask its server
        info = os.fstat(opened.fileno())
        return Seen(opened.read(), info.st_ino, info.st_mtime_ns)


def _remove(file: Path, seen: Seen, right: Path) -> None:
    """Remove a lock if it has not changed since it was seen; only this process has the right to."""
    aside = file.with_name(f"{LOCK}.{uuid.uuid4().hex}")
    try:
        if _look(file) == seen:
            file.rename(aside)
            if _look(aside) != seen:  # this process slept, and another took the right over
                with suppress(OSError):
                    os.link(aside, file)
            aside.unlink(missing_ok=True)
    finally:
        right.unlink(missing_ok=True)


def _owner(content: bytes) -> dict[str, Any] | None:
    """Return the owner that a lock's content names, or None if it names none."""
    try:
        owner = json.loads(content)
        known = {"host": str, "space": str, "pid": int, "start": str, "job": str, "since": float}
        is_complete = all(isinstance(owner[key], kind) for key, kind in known.items())
        return owner if is_complete and 0 <= owner["since"] < LAST_SECOND else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_copy(owner: dict[str, Any], inode: int) -> bool:
    """Return whether the lock is a copy of the owner's file; not every file system can tell."""
    return owner.get("inode") not in (None, inode)


def _is_stale(file: Path, inode: int, owner: dict[str, Any]) -> bool:
    """Return whether a lock's owner is gone; this may take as long as a few renewals."""
    same_host = owner["host"] == socket.gethostname()
    if same_host and owner["space"] == pid_space():
        if not is_alive(owner["pid"], owner["start"]):
            return True
        if not _is_copy(owner, inode):
            return False
    try:
        # Containers may share a host name, and a host may have rebooted, so the owner may live or be gone.
        # The owner of a copy holds another directory.
        same_job = bool(owner["job"]) and owner["job"] == job()
        # The age depends on two clocks, which may differ, so it does not make a lock stale by itself.
        is_doubtful = same_host or same_job or _age(file) > STALE_SECONDS
        return is_doubtful and not _changes(file, RENEW_SECONDS * MAX_MISSED_RENEWALS)
    except FileNotFoundError:
        return True


def _age(file: Path) -> float:
    """Return a lock's age in seconds, by the file system's clock and ours; infinite if it is gone."""
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return math.inf


def _changes(file: Path, seconds: float) -> bool:
    """Return whether a lock changes within some seconds of this process's clock."""
    first, deadline = _look(file), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if _look(file) != first:
            return True
    return False
