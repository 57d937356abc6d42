"""The journal of a search: shared, mended, locked; what is wrong with it is one line."""

import importlib.util
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cofi_dist.errors import ConfigError, RunError, SaveError
from cofi_dist.tuning import journal as journal_module
from cofi_dist.tuning.journal import require_optuna
from tests.tuning.searches import searched, work

pytest.importorskip("optuna")


def test_half_a_line_that_a_killed_worker_left_is_cut_off(tmp_path: Path) -> None:
    search = searched(tmp_path)
    work(search, 2)
    file = search.open_journal().file
    whole = file.read_bytes()
    with file.open("ab") as opened:
        opened.write(b'{"op_code":6,"worker_id":"3f')
    work(search, 3)
    after = file.read_bytes()
    assert after.startswith(whole)
    assert b'"3f{' not in after
    assert [trial.state.is_finished() for trial in search.open_journal().trials()] == [True] * 3


@pytest.mark.parametrize("damage", [b"{}\n", b"garbage\n", b"[1]\n", b"\xff\xfe\n", b'{"op_code":99}\n'])
def test_a_damaged_journal_is_one_line_that_names_it(damage: bytes, tmp_path: Path) -> None:
    search = searched(tmp_path)
    journal = search.open_journal()
    journal.begin()
    lines = journal.file.read_bytes().splitlines(keepends=True)
    journal.file.write_bytes(b"".join([*lines[:1], damage, *lines[1:]]))
    with pytest.raises(RunError, match=r"out/trials\.journal: is damaged \(.*give another --output") as told:
        search.open_journal()
    assert "\n" not in str(told.value)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunError, match="out: cannot be made: File exists"):
        searched(tmp_path).open_journal()


def test_a_full_disk_is_one_line_and_the_search_goes_on_once_there_is_room(tmp_path: Path) -> None:
    search = searched(tmp_path)
    work(search, 1)
    journal = search.open_journal()
    size = journal.file.stat().st_size
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))  # a line has more bytes
    try:
        with pytest.raises(SaveError, match=r"trials\.journal: cannot be written: File too large; the"):
            journal.begin()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert journal.file.stat().st_size == size + 20, "half a line is there"
    work(search, 2)
    assert [trial.state.is_finished() for trial in search.open_journal().trials()] == [True] * 2


HOLDER = """
import sys, time
from pathlib import Path
from cofi_dist.training.metrics import Criterion
from cofi_dist.tuning.journal import _open

study = _open(Path(sys.argv[1]), Criterion(), 0)
study._storage._backend._lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_worker_that_is_killed_while_it_holds_the_lock_does_not_block_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "GRACE_SECONDS", 3)
    search = searched(tmp_path)
    journal = search.open_journal()
    command = [sys.executable, "-c", HOLDER, str(journal.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
    assert Path(f"{journal.file}.lock").exists()
    since = time.monotonic()
    assert journal.begin() == 0
    assert time.monotonic() - since > 2, "the lock was respected for a while"
    assert not Path(f"{journal.file}.lock").exists()
    assert journal.begin() == 1


def test_without_optuna_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"^a search needs Optuna: pip install 'cofi-dist\[tune\]'"):
        require_optuna()
