"""One run at a time in a run directory.

The lock is a file that says who holds it, and whose time is renewed while its owner lives. A lock is
stale where its owner is a process of this host that is gone. Of an owner that can't be looked for it is
watched for as long as it takes to see that nobody renews it: at once where that is an earlier start of this
very job, or of this container, or where the lock was copied along with its directory; else once it looks
STALE_SECONDS old. A run that has lost its lock ends.

Many may find a lock stale at once, and each may be held up at any point. So whoever removes one first makes a
file named after its content, which only one process can; then looks again whether the lock still has that
content; and only then makes a lock of its own, as anybody else may.
"""

import hashlib
import json
import math
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from cofi_dist.errors import RunError, SaveError
from cofi_dist.files.reading import open_regular
from cofi_dist.run_layout import LOCK
from cofi_dist.streams import exit_now
from cofi_dist.system.variables import read

RENEW_SECONDS, STALE_SECONDS = 3.0, 60.0
RENEWALS = 4  # that a live owner does not miss in a row
LAST_SECOND = 1e11  # of a time that can be said in words
SETTLE_SECONDS, MOST_BYTES = 2.0, 2**16  # in which whoever has made the file also writes into it; and of it


class Seen(NamedTuple):
    """A lock as it was looked at.

    Attributes:
        content: says who holds it.
        inode: of the file.
        renewed: when, in nanoseconds of its file system's clock.
    """

    content: bytes
    inode: int
    renewed: int


class Lock:
    """Holds the run directory until `release`, as a context.

    Args:
        run_dir: made where it isn't there.

    Raises:
        RunError: another run holds it, or it can't be written.
    """

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / LOCK
        self._me = {
            "host": socket.gethostname(),
            "space": _space(),
            "pid": os.getpid(),
            "start": _start(os.getpid()),
            "job": job(),
            "since": time.time(),
        }
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        try:
            self._take()
            self._thread.start()
        except BaseException:  # a signal
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
        for left in self._file.parent.glob(f"{LOCK}.{'[0-9a-f]' * 32}"):  # by starts that were killed
            with suppress(OSError):
                if _age(left) > STALE_SECONDS:
                    left.unlink()

    def _try(self) -> bool:
        """Get the lock, or find that another got it; returns false where neither could be seen.

        Raises:
            RunError: another process holds it.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        candidate = self._file.with_name(f"{LOCK}.{uuid.uuid4().hex}")
        try:
            with candidate.open("x", encoding="utf-8") as opened:
                self._me["inode"] = os.fstat(opened.fileno()).st_ino
                json.dump(self._me, opened)
            while not self._make(self._file, candidate):
                self._clear_stale(self._file, candidate)
        except FileNotFoundError:  # its directory, or it, was cleared away by another start
            return False
        finally:
            candidate.unlink(missing_ok=True)
        return True

    def _make(self, file: Path, candidate: Path) -> bool:
        """Make a file of the candidate's content, whole at once; returns whether it is this process's."""
        try:
            os.link(candidate, file)
        except FileExistsError:
            with suppress(FileNotFoundError):
                return candidate.samefile(file)  # a server may have made it, and its answer been lost
            return False
        except FileNotFoundError:
            raise
        except OSError:  # a file system without links
            self._me["inode"] = None
            try:
                with file.open("x", encoding="utf-8") as opened:
                    json.dump(self._me, opened)
            except FileExistsError:
                return False
        return True

    def _clear_stale(self, file: Path, candidate: Path) -> None:
        """Remove the lock that is there; or the right to remove it, of a process that was killed meanwhile.

        Raises:
            RunError: it is not stale.
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
            if self._make(right, candidate):
                _remove(file, seen, right)
            else:
                self._clear_stale(right, candidate)

    def _refusal(self, owner: dict[str, Any], inode: int) -> RunError:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
        is_copy = _is_copy(owner, inode)
        copied = f"; where it was copied from that run's, remove {self._file}" if is_copy else ""
        return RunError(
            f"{self._file.parent}: process {owner['pid']} on {owner['host']} is running here since {since};"
            f" give another run_dir, or stop that run{copied}"
        )

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            with suppress(OSError):  # a file system that is away for a while
                if not self._is_ours():
                    self._yield()
                os.utime(self._file)

    def _yield(self) -> None:
        # at once: on the usual way out it would write where another run does
        exit_now(
            SaveError(
                f"{self._file}: is not this run's any more: another run has taken the directory over, or"
                " somebody removed it; nothing more was saved; look what runs there before you go on"
            )
        )

    def _is_ours(self) -> bool:
        try:
            return _owner(_look(self._file).content) == self._me
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


def _look(file: Path) -> Seen:
    with open_regular(file, MOST_BYTES) as opened:  # opened anew, NFS asks its server
        about = os.fstat(opened.fileno())
        return Seen(opened.read(), about.st_ino, about.st_mtime_ns)


def _remove(file: Path, seen: Seen, right: Path) -> None:
    """Remove a lock if it still is as it was seen; this process alone has the right to."""
    aside = file.with_name(f"{LOCK}.{uuid.uuid4().hex}")
    try:
        if _look(file) == seen:
            file.rename(aside)
            if _look(aside) != seen:  # this process slept meanwhile, and another took the right
                with suppress(OSError):
                    os.link(aside, file)
            aside.unlink(missing_ok=True)
    finally:
        right.unlink(missing_ok=True)


def _owner(content: bytes) -> dict[str, Any] | None:
    """Who holds the lock of this content; None where it says nothing."""
    try:
        said = json.loads(content)
        known = {"host": str, "space": str, "pid": int, "start": str, "job": str, "since": float}
        is_whole = all(isinstance(said[key], kind) for key, kind in known.items())
        return said if is_whole and 0 <= said["since"] < LAST_SECOND else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_copy(owner: dict[str, Any], inode: int) -> bool:
    """Whether its owner made another file than this one; not known of every file system."""
    return owner.get("inode") not in (None, inode)


def _is_stale(file: Path, inode: int, owner: dict[str, Any]) -> bool:
    same_host = owner["host"] == socket.gethostname()
    if same_host and owner["space"] == _space():
        if not _lives(owner["pid"], owner["start"]):
            return True
        if not _is_copy(owner, inode):
            return False
    try:
        # containers may have one name, and a host another boot: what is there may live, or be gone; and the
        # owner of a copy holds another directory
        same_job = bool(owner["job"]) and owner["job"] == job()
        # its age is by two clocks, which may differ: so that alone makes no lock stale
        is_doubtful = same_host or same_job or _age(file) > STALE_SECONDS
        return is_doubtful and not _changes(file, RENEW_SECONDS * RENEWALS)
    except FileNotFoundError:
        return True


def _age(file: Path) -> float:
    """Seconds since the lock was renewed, by its file system's clock and ours; infinite where it is gone."""
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return math.inf


def _changes(file: Path, seconds: float) -> bool:
    """Watch a lock for so long by this process's own clock."""
    first, deadline = _look(file), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if _look(file) != first:
            return True
    return False


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
