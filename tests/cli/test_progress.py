"""Long work shows a bar on a terminal and lines elsewhere; short work shows nothing."""

import os
import pty
import subprocess
import sys

import pytest

from cofi_dist.cli.progress import Progress


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return what the clock says, for the test to set."""
    now = [0.0]
    monkeypatch.setattr("cofi_dist.cli.progress.time.perf_counter", lambda: now[0])
    return now


def test_lines_come_more_and_more_rarely(seconds: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("evaluating", "users") as bar:
        for second in range(1, 90):
            seconds[0] = second
            bar.add(1000, 100_000)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "evaluating: 10,000 of 100,000 users in 10 s, about 90 s to go",
        "evaluating: 20,000 of 100,000 users in 20 s, about 80 s to go",
        "evaluating: 40,000 of 100,000 users in 40 s, about 60 s to go",
        "evaluating: 80,000 of 100,000 users in 80 s, about 20 s to go",
    ]


def test_short_work_and_other_ranks_say_nothing(
    seconds: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("evaluating", "users") as bar:
        seconds[0] = 9.0
        bar.add(1000, 1000)
    with Progress("evaluating", "users", hidden=True) as bar:
        seconds[0] = 1000.0
        bar.add(1000, 2000)
    assert capsys.readouterr() == ("", "")


ON_A_TERMINAL = """
from cofi_dist.cli import progress
progress.FIRST_BAR = 0.0
with progress.Progress("evaluating", "users") as bar:
    bar.add(250, 1000)
print("done")
"""


def test_a_terminal_gets_a_bar_on_stderr_alone() -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-c", ON_A_TERMINAL], env=env, stdout=-1, stderr=theirs, check=True
    )
    os.close(theirs)
    drawn = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.stdout == b"done\n"
    assert "250/1,000 users" in drawn
