"""Long work shows a bar on a terminal and lines elsewhere; short work shows nothing."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cofi_dist.cli.progress import Progress, Steps
from tests.support.terminal import on_terminal


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


def test_of_work_that_nobody_can_measure_the_lines_say_what_is_done(
    seconds: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("reading", "ratings") as bar:
        seconds[0] = 12.0
        bar.add(3_000_000, None)
    assert capsys.readouterr().err == "reading: 3,000,000 ratings in 12 s\n"


def test_each_step_is_timed_by_itself(seconds: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Steps("ratings") as steps:
        for second in range(1, 25):
            seconds[0] = second
            steps("reading", 10 * second, None)
        for second in range(25, 36):
            seconds[0] = second
            steps("grouping", second - 24, 11)
        seconds[0] = 90.0
        steps("writing", 1, 2)  # its time begins when the last step is done
    assert capsys.readouterr().err.splitlines() == [
        "reading: 110 ratings in 10 s",
        "reading: 210 ratings in 20 s",
        "grouping: 11 of 11 ratings in 10 s, about 0 s to go",
    ]


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


ALL_AT_ONCE = """
import sys, time
from cofi_dist.cli import progress
progress.FIRST_BAR = progress.BETWEEN_BARS = 0.0
with progress.Steps("ratings") as steps:
    steps("reading", 7, None)
    steps("writing", 123_456_789_000, 200_000_000_000)
progress.BETWEEN_BARS = 0.01
with progress.working("comparing"):
    time.sleep(1)
"""


def test_steps_and_work_without_an_end_are_drawn_and_fit() -> None:
    code, drawn = on_terminal(["-c", ALL_AT_ONCE])
    assert code == 0
    frames = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn))
    assert any("reading" in frame and "7 ratings" in frame for frame in frames)
    assert any("123,456,789,000/200,000,000,000 ratings" in frame for frame in frames)
    assert any(re.match(". comparing 0:00:0", frame) for frame in frames), frames
    assert max(map(len, frames)) <= 80


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "dumb", "FORCE_COLOR": "1"}])
def test_nothing_is_drawn_on_a_terminal_that_cannot_move_its_cursor(variables: dict[str, str]) -> None:
    assert on_terminal(["-c", ALL_AT_ONCE], variables=variables) == (0, "")


COMMAND = """
import sys
from cofi_dist.cli import progress
progress.FIRST_BAR = progress.BETWEEN_BARS = 0.0
from cofi_dist.cli.main import main
main()
"""


def test_commands_that_may_take_long_show_what_they_do(tmp_path: Path) -> None:
    rows = [f"{cell // 20},{cell % 20},{cell % 5}" for cell in range(0, 400, 3)]
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating", *rows, ""]))
    (tmp_path / "c.yaml").write_text(
        "data: {ratings: r.csv, test: {}}\nmodel: {num_features: 2}\ntrain: {epochs: 2}\n"
    )
    shown = {
        "prepare r.csv --output ready data.test={}": ["reading", "grouping by user", "sorting by item"],
        "train --config c.yaml": ["reading", "sorting by item"],
        "evaluate runs/c": ["evaluating"],
        "export runs/c --format npz --output out": ["exporting"],
        "recommend runs/c --all --output lists.csv": ["recommending"],
    }
    for command, words in shown.items():
        code, drawn = on_terminal(["-c", COMMAND, *command.split()], cwd=tmp_path)
        assert code == 0, drawn
        assert all(word in drawn for word in words), (command, drawn)
