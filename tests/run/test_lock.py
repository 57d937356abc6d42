"""One run at a time in a run directory."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cofi_dist.errors import RunError
from cofi_dist.run import lock
from cofi_dist.run.lock import STALE_SECONDS, Lock
from cofi_dist.run.process_identity import pid_space, start_time
from cofi_dist.run_layout import LOCK


def leave(tmp: Path, **said: object) -> None:
    owner = {"host": socket.gethostname(), "space": pid_space(), "pid": os.getpid(), "job": "", **said}
    owner = {"start": start_time(int(str(owner["pid"]))), "since": 1.7e9, **owner}
    (tmp / LOCK).write_text(json.dumps(owner))


@contextmanager
def renewed(tmp: Path) -> Iterator[None]:
    """Its owner lives."""
    done = threading.Event()

    def renew() -> None:
        while not done.wait(0.1):
            os.utime(tmp / LOCK)

    owner = threading.Thread(target=renew)
    owner.start()
    try:
        yield
    finally:
        done.set()
        owner.join()


def test_who_comes_second_is_told_who_is_there(tmp_path: Path) -> None:
    with Lock(tmp_path):
        with pytest.raises(RunError) as error:
            Lock(tmp_path)
        assert f"process {os.getpid()} on {socket.gethostname()} has been running here since 20" in str(
            error.value
        )
    assert not (tmp_path / LOCK).exists()
    with Lock(tmp_path):
        pass


def test_the_lock_of_a_process_that_is_gone_is_stale(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    leave(tmp_path, pid=gone.pid)
    with Lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_a_later_process_of_the_same_number_holds_nothing(tmp_path: Path) -> None:
    leave(tmp_path, start="1")
    with Lock(tmp_path):
        pass


def test_the_lock_of_a_process_that_lives_here_is_not_stale_however_old(tmp_path: Path) -> None:
    leave(tmp_path)
    os.utime(tmp_path / LOCK, (1.0, 1.0))
    with pytest.raises(RunError, match="has been running here"):
        Lock(tmp_path)


def test_the_lock_of_another_host_is_stale_where_nobody_renews_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.2)
    leave(tmp_path, host="elsewhere")
    with pytest.raises(RunError, match="on elsewhere has been running here"):
        Lock(tmp_path)
    long_ago = time.time() - STALE_SECONDS - 1
    os.utime(tmp_path / LOCK, (long_ago, long_ago))
    with Lock(tmp_path):
        pass


def test_a_clock_that_is_ahead_takes_no_lock_that_is_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.4)
    leave(tmp_path, host="elsewhere")
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 2 * STALE_SECONDS)
    with renewed(tmp_path), pytest.raises(RunError, match="on elsewhere has been running here"):
        Lock(tmp_path)


def test_a_restart_of_the_same_job_takes_its_lock_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.2)
    leave(tmp_path, host="elsewhere", job="123")
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    with Lock(tmp_path):
        pass


@pytest.mark.parametrize("lives", [True, False])
def test_a_container_of_the_same_name_is_asked_for_signs_of_life(
    lives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process numbers are not ours: one of them is gone, and one is even this process's own."""
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.4)
    for pid in (2**22 + 1, os.getpid()):
        leave(tmp_path, pid=pid, space="another boot pid:[1]")
        if lives:
            with renewed(tmp_path), pytest.raises(RunError, match="has been running here"):
                Lock(tmp_path)
        else:
            with Lock(tmp_path):
                pass


def test_two_runs_of_one_job_are_one_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    with Lock(tmp_path), pytest.raises(RunError, match="has been running here"):
        Lock(tmp_path)  # on the same host: its process lives
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.4)
    leave(tmp_path, host="elsewhere", job="123")
    with renewed(tmp_path), pytest.raises(RunError, match="on elsewhere has been running here"):
        Lock(tmp_path)


TAKE = """
import sys, time
from pathlib import Path
from cofi_dist.errors import RunError
from cofi_dist.run.lock import Lock
folder, start = Path(sys.argv[1]), float(sys.argv[2])
for number in range(60):
    (folder / str(number)).mkdir(exist_ok=True)
    time.sleep(max(0, start + number / 20 - time.time()))
    try:
        Lock(folder / str(number)).__enter__()
        print(number)
    except RunError:
        pass
time.sleep(2)
"""


@pytest.mark.parametrize("stale", [False, True])
def test_of_many_that_start_at_once_one_gets_it(stale: bool, tmp_path: Path) -> None:
    for number in range(60) if stale else ():
        (tmp_path / str(number)).mkdir()
        leave(tmp_path / str(number), pid=2**22 + 1)  # larger than any
    given = [sys.executable, "-c", TAKE, str(tmp_path), str(time.time() + 3)]
    all_ = [subprocess.Popen(given, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    got = [number for process in all_ for number in process.communicate(timeout=60)[0].split()]
    assert sorted(got, key=int) == [str(number) for number in range(60)]
    assert {path.name for path in tmp_path.glob("*/*")} == {LOCK}, "nothing else is left"


REMOVE = """
import sys, time
from pathlib import Path
from cofi_dist.run.lock import Lock
rename = Path.rename

def held_up(self, target):
    if self.name == ".lock":
        print("held up", flush=True)
        time.sleep(60)
    rename(self, target)

Path.rename = held_up
Lock(Path(sys.argv[1]))
"""


def test_who_is_held_up_or_killed_while_it_removes_a_stale_lock_is_in_nobodys_way(tmp_path: Path) -> None:
    leave(tmp_path, pid=2**22 + 1)
    given = [sys.executable, "-c", REMOVE, str(tmp_path)]
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held up\n"
        with pytest.raises(RunError, match=f"process {first.pid} on .* has been running here"):
            Lock(tmp_path)  # it would be removed when the other one wakes
        first.kill()
    with Lock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_a_lock_that_was_taken_over_after_it_was_judged_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, pid=2**22 + 1)
    is_stale = lock._is_stale

    def held_up(*given: Any) -> bool:
        monkeypatch.setattr(lock, "_is_stale", is_stale)
        was = is_stale(*given)
        leave(tmp_path, since=1.8e9)
        return was

    monkeypatch.setattr(lock, "_is_stale", held_up)
    with pytest.raises(RunError, match="has been running here since 2027"):
        Lock(tmp_path)
    assert json.loads((tmp_path / LOCK).read_text())["since"] == 1.8e9
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_lock_that_its_owner_renews_after_it_was_judged_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept, and wakes."""
    leave(tmp_path, host="elsewhere")

    def held_up(*_: Any) -> bool:
        monkeypatch.undo()
        os.utime(tmp_path / LOCK)
        return True

    monkeypatch.setattr(lock, "_is_stale", held_up)
    with pytest.raises(RunError, match="on elsewhere has been running here"):
        Lock(tmp_path)


@pytest.mark.parametrize("lives", [True, False])
def test_a_lock_that_was_copied_with_its_directory_is_stale(
    lives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.2)
    run, copy = tmp_path / "run", tmp_path / "copy"
    with Lock(run):
        shutil.copytree(run, copy)
        if lives:  # a file system whose inodes change, say
            with (
                renewed(copy),
                pytest.raises(RunError, match=f"has been running here .*, remove {copy / LOCK}$"),
            ):
                Lock(copy)
        else:
            with Lock(copy), pytest.raises(RunError, match="has been running here"):
                Lock(run)


def test_a_file_system_without_links_has_locks_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    leave(tmp_path, pid=2**22 + 1)
    with Lock(tmp_path), pytest.raises(RunError, match="has been running here"):
        Lock(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', '{"host": "a", "pid": "b"}', "\x00"])
def test_a_lock_that_says_nothing_is_nobodys(text: str, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(text)
    with Lock(tmp_path):
        pass


def test_a_lock_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEW_SECONDS", 0.02)
    with Lock(tmp_path):
        os.utime(tmp_path / LOCK, (1.0, 1.0))
        deadline = time.monotonic() + 10
        while (tmp_path / LOCK).stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / LOCK).stat().st_mtime > 2


HOLD = """
import sys, time
from pathlib import Path
from cofi_dist.run import lock
lock.RENEW_SECONDS = 0.05
with lock.Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("other", ["runs", "has ended"])
def test_who_has_lost_its_lock_leaves_at_once_with_one_line(other: str, tmp_path: Path) -> None:
    given = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        (tmp_path / LOCK).rename(tmp_path / "aside")
        if other == "runs":
            leave(tmp_path)
        _, said = owner.communicate(timeout=30)
    assert owner.returncode == 1
    assert said.startswith(f"cofi-dist: {tmp_path / LOCK}: is not this run's any more: another run has taken")
    assert len(said.splitlines()) == 1
    assert (tmp_path / LOCK).exists() == (other == "runs")


def test_only_its_owner_removes_a_lock(tmp_path: Path) -> None:
    with Lock(tmp_path):
        leave(tmp_path, pid=1)
    assert (tmp_path / LOCK).exists()


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"\.lock: cannot be written: "):
        Lock(tmp_path / "file" / "run")


def test_a_lock_that_says_nothing_and_is_of_the_future_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    os.utime(tmp_path / LOCK, (2**32, 2**32))
    with Lock(tmp_path):
        pass


def test_who_slept_before_it_removed_a_lock_puts_back_that_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, right = tmp_path / LOCK, tmp_path / "right"
    file.write_text("stale")
    stale = lock._look(file)
    looks = lock._look

    def sleeps(seen: Path) -> lock.Seen:
        found = looks(seen)
        if seen == file:  # meanwhile another process takes the directory
            file.unlink()
            file.write_text("another's")
        return found

    monkeypatch.setattr(lock, "_look", sleeps)
    lock._remove(file, stale, right)
    assert file.read_text() == "another's"
    assert list(tmp_path.iterdir()) == [file]
