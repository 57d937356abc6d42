"""Files and run directories: whole or not there, and never lost unasked."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cofi_dist.data.preparation.spool import Spool
from cofi_dist.errors import DataError, RunError
from cofi_dist.files import directory_swap
from cofi_dist.files.atomic import atomic_directory, atomic_file, refuse_existing, write_atomically
from cofi_dist.files.temporaries import clear_temporaries
from cofi_dist.files.written_file import checked_file, write_file


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "a" / "b") as temporary:
        (temporary / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "x").read_text() == "1"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x"], "the lock stays behind"
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_nothing_is_left_of_a_directory_that_failed(tmp_path: Path) -> None:
    with pytest.raises(DataError), atomic_directory(tmp_path / "d") as temporary:
        (temporary / "x").write_text("1")
        raise DataError("bad")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_goes_when_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "d"
    for text in ("old", "new"):
        with atomic_directory(target, replace=True) as temporary:
            (temporary / text).touch()
    with pytest.raises(RunError, match="d: cannot be written"), atomic_directory(target, replace=True):
        raise OSError(28, "No space left on device")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_directory_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "d"
    with atomic_directory(target) as temporary:
        (temporary / "old").touch()
    rename = Path.rename

    def fail(self: Path, to: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(directory_swap, "exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(RunError, match="d: cannot be written"), atomic_directory(target, replace=True) as new:
        (new / "new").touch()
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_appears_whole_or_keeps_what_it_was(tmp_path: Path) -> None:
    file = tmp_path / "f"
    write_atomically(file, "old")
    with pytest.raises(DataError), atomic_file(file) as opened:
        opened.write(b"ne")
        raise DataError("bad")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"), atomic_directory(tmp_path / "file" / "d"):
        pass
    with pytest.raises(RunError, match="cannot be written"), atomic_file(tmp_path / "file" / "f"):
        pass


def test_a_library_that_drops_an_error_does_not_lose_it(tmp_path: Path) -> None:
    (tmp_path / "f").symlink_to("/dev/full")
    with (
        pytest.raises(OSError, match="No space left"),
        checked_file(tmp_path / "f") as file,
        suppress(OSError),
    ):
        file.write(bytes(2**20))


def test_a_file_that_is_shorter_than_what_was_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "f"
    wants = pytest.raises(RunError, match=r"f: cannot be written: 8 bytes were written, and 3 are there")
    with wants, atomic_file(file) as opened:
        opened.write(b"12345678")
        opened._file.flush()
        os.truncate(next(tmp_path.iterdir()), 3)
    assert list(tmp_path.iterdir()) == []


def test_what_a_spool_cannot_write_is_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", {"user": np.int32})
    (tmp_path / "s" / "user").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        spool.append({"user": np.arange(10, dtype=np.int32)})


def test_what_a_spool_cannot_read_is_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s", {"user": np.int32})
    spool.append({"user": np.arange(10, dtype=np.int32)})
    os.truncate(tmp_path / "s" / "user", 20)
    with pytest.raises(OSError, match="shorter than what was written"):
        spool.whole()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EROFS])
def test_a_folder_that_cannot_be_synced_is_passed_over_and_a_file_is_not(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def refuse(descriptor: int, *, folders: bool) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folders:
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", partial(refuse, folders=True))
    write_atomically(tmp_path / "f", "text")
    with atomic_directory(tmp_path / "d") as directory:
        write_file(directory / "x", "1")
    assert (tmp_path / "d" / "x").read_text() == "1"
    monkeypatch.setattr(os, "fsync", partial(refuse, folders=False))
    with pytest.raises(RunError, match="g: cannot be written"):
        write_atomically(tmp_path / "g", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "f"]


@pytest.mark.parametrize("copied", [False, True], ids=["renamed", "copied, as from an overlay's lower layer"])
def test_a_directory_is_replaced_without_an_exchange_too(
    copied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "d", Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if copied and self == target:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, to)

    monkeypatch.setattr(directory_swap, "exchange", lambda *_: False)
    monkeypatch.setattr(Path, "rename", refuse)
    for text in ("old", "new"):
        with atomic_directory(target, replace=True) as temporary:
            write_file(temporary / text, "")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("new", "old", "there", "want"),
    [
        (True, True, False, "new"),  # killed between the two renames
        (True, True, True, "new"),  # killed while what could not be renamed was removed
        (False, True, False, "old"),
        (False, True, True, "there"),  # killed before it was cleared away
        (True, False, True, "there"),  # killed after an exchange, or before anything was put in place
        (True, False, False, None),  # nothing was there before
    ],
)
def test_a_swap_that_was_broken_off_is_ended(
    new: bool, old: bool, there: bool, want: str | None, tmp_path: Path
) -> None:
    target, scratch = tmp_path / "model", tmp_path / ".model.0123abcd.tmp"
    scratch.mkdir()
    for path, is_there in ((scratch / "new", new), (scratch / "old", old), (target, there)):
        if is_there:
            path.mkdir()
            (path / "name").write_text("there" if path == target else path.name)
    clear_temporaries(target)
    assert not scratch.exists()
    assert (target / "name").read_text() == want if want else not target.exists()


def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    for what in ("atomic_file", "atomic_directory"):
        code = (
            f"import sys\nfrom pathlib import Path\nfrom cofi_dist.files.atomic import {what}\n"
            f"with {what}(Path(sys.argv[1])):\n    print(flush=True)\n    input()\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "f")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            (temporary,) = tmp_path.iterdir()
            clear_temporaries(tmp_path / "f")
            assert temporary.exists()
            process.kill()
        write_atomically(tmp_path / "other", "")
        assert temporary.exists(), "it is somebody else's"
        clear_temporaries(tmp_path / "f")
        assert not temporary.exists()
        (tmp_path / "other").unlink()


def test_locks_hold_between_hosts_that_share_nfs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flock = fcntl.flock

    def of_nfs(descriptor: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return  # locked on this host alone: the other one doesn't see it
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if mode == (os.O_WRONLY if operation & fcntl.LOCK_SH else os.O_RDONLY):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", of_nfs)
    target = tmp_path / "f"
    with atomic_file(target) as file:
        clear_temporaries(target)
        file.write(b"whole")
    assert target.read_bytes() == b"whole"
    with atomic_directory(target, replace=True) as directory:
        write_file(directory / "x", "whole")
        clear_temporaries(target)
    assert (target / "x").read_text() == "whole"
    (tmp_path / ".f.01234567.tmp").touch()
    (tmp_path / ".f.89abcdef.tmp").mkdir()
    (tmp_path / ".f.89abcdef.tmp/lock").touch()
    clear_temporaries(target)
    assert list(tmp_path.iterdir()) == [target]
    assert capsys.readouterr().err == ""


def test_without_locks_nothing_is_removed_and_only_what_is_old_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    file, directory = tmp_path / ".f.01234567.tmp", tmp_path / ".f.89abcdef.tmp"
    with atomic_directory(tmp_path / "f") as new:
        clear_temporaries(tmp_path / "f")
        assert new.exists()
    (tmp_path / "f").rmdir()
    with atomic_file(tmp_path / "f"):
        clear_temporaries(tmp_path / "f")
    file.touch()
    directory.mkdir()
    (directory / "new").touch()
    (directory / "lock").touch()
    long_ago = time.time() - 3 * 3600
    for path in (directory / "lock", directory):
        os.utime(path, (long_ago, long_ago))
    clear_temporaries(tmp_path / "f")
    assert capsys.readouterr().err == ""
    os.utime(file, (long_ago, long_ago))
    clear_temporaries(tmp_path / "f")
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{file}: last written 3 h ago" in line
    assert line.endswith("if no command on any host is writing f, remove it")
    file.unlink()
    (tmp_path / "f").unlink()
    (directory / "new").rename(directory / "old")  # the only copy
    for path in (directory / "old", directory):
        os.utime(path, (long_ago, long_ago))
    clear_temporaries(tmp_path / "f")
    assert f"put {directory / 'old'} in the place of {tmp_path / 'f'}, then" in capsys.readouterr().err
    assert (directory / "old").exists()


@pytest.mark.parametrize("what", [atomic_file, atomic_directory])
def test_what_was_just_made_may_be_cleared_away_before_it_is_locked(
    what: Callable[[Path], AbstractContextManager[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, made = tmp_path / "f", []
    mkdir, opened = Path.mkdir, Path.open

    def clear_first(path: Path) -> None:
        if path.suffix == ".tmp":
            made.append(path)
        if made == [path]:
            clear_temporaries(target)
            assert not path.exists()

    def make(self: Path, *given: Any, **named: Any) -> None:
        mkdir(self, *given, **named)
        clear_first(self)

    def create(self: Path, *given: Any) -> Any:
        file = opened(self, *given)
        clear_first(self)
        return file

    monkeypatch.setattr(Path, "mkdir", make)
    monkeypatch.setattr(Path, "open", create)
    with what(target):
        pass
    assert len(made) == 2
    assert list(tmp_path.iterdir()) == [target]


def test_commands_that_write_one_target_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from cofi_dist.files.atomic import atomic_directory, atomic_file\n"
        "folder = Path(sys.argv[1])\n"
        "for _ in range(200):\n"
        "    with atomic_file(folder / 'f') as file:\n        file.write(b'1')\n"
        "    with atomic_directory(folder / 'd', replace=True):\n        pass\n"
    )
    with ExitStack() as stack:
        command = [sys.executable, "-c", code, str(tmp_path)]
        processes = [stack.enter_context(subprocess.Popen(command)) for _ in range(3)]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "f"]


def test_what_another_command_has_just_written_is_not_replaced(tmp_path: Path) -> None:
    with (
        pytest.raises(RunError, match="d: already exists; remove it"),
        atomic_directory(tmp_path / "d") as mine,
    ):
        (mine / "f").write_text("mine")
        with atomic_directory(tmp_path / "d") as other:
            (other / "f").write_text("other")
    assert (tmp_path / "d" / "f").read_text() == "other"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("what", [atomic_file, atomic_directory])
def test_each_folder_that_was_made_is_synced_into_its_own(
    what: Callable[[Path], AbstractContextManager[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = set(), os.fsync

    def note(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with what(tmp_path / "a/b/c/f"):
        pass
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c"):
        assert folder.stat().st_ino in synced


def test_a_name_of_a_pattern_s_characters_clears_no_other_s_files(tmp_path: Path) -> None:
    (tmp_path / ".a.0123abcd.tmp").touch()
    (tmp_path / ".[ab].0123abcd.tmp").touch()
    clear_temporaries(tmp_path / "[ab]")
    assert [path.name for path in tmp_path.iterdir()] == [".a.0123abcd.tmp"]


@pytest.mark.parametrize("name", ["x" * 300, "fine"])
def test_what_cannot_be_written_leaves_no_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises((RunError, DataError)), atomic_file(tmp_path / "mine/new/newer" / name):
        raise DataError("no good")
    assert list((tmp_path / "mine").rglob("*")) == []


def test_an_output_that_is_a_device_is_not_replaced() -> None:
    with pytest.raises(RunError, match="/dev/null: is no regular file"):
        refuse_existing(Path("/dev/null"), replace=True)
