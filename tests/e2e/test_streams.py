"""Standard streams that are closed, full, a broken pipe, or in another encoding, under real commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import cofi

COFI = f"{sys.executable} -m cofi_dist"
TITLES = "movieId,title\n" + "".join(f"{item},Amélie 天使 \x1b[31m\n" for item in range(1000, 1040))


def shell(command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize(
    ("streams", "code", "says"),
    [
        ("<&-", 0, ""),
        ("2>&-", 0, ""),
        (">&-", 1, "cofi-dist: stdout: cannot be written: Bad file descriptor\n"),
        ("<&- >&- 2>&-", 1, ""),
        ("> /dev/full", 1, "cofi-dist: stdout: cannot be written: No space left on device\n"),
        ("> /dev/full 2> /dev/full", 1, ""),
        ("| true; exit ${PIPESTATUS[0]}", 1, "cofi-dist: stdout: cannot be written: Broken pipe\n"),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_results_that_cannot_be_written_are_a_failure_in_one_line(
    streams: str, code: int, says: str, unbuffered: str, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text("data: {synthetic: {}}\n")
    # so late that nobody reads any more
    late = f"bash -c 'sleep 0.2; exec {COFI} config c.yaml' {streams}"
    command = late if streams.startswith("|") else f"{COFI} config c.yaml {streams}"
    done = shell(command, tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr.decode()) == (code, says)
    assert bool(done.stdout) == (code == 0)


@pytest.mark.parametrize("streams", ["<&- 2>&-", "<&- >&- 2>&-", "2> /dev/full"])
def test_a_mistake_has_its_exit_code_where_nobody_hears_of_it(streams: str, tmp_path: Path) -> None:
    for args in ("config none.yaml", "nonsense", "config"):
        done = shell(f"{COFI} {args} {streams}", tmp_path)
        assert (done.returncode, done.stderr) == (2, b"")


def test_a_run_without_streams_is_a_run_and_no_file_of_it_gets_what_is_printed(here: Path) -> None:
    done = shell(f"{COFI} train --config tiny.yaml <&- >&- 2>&-", here)
    assert done.returncode == 0
    run = here / "runs/tiny"
    assert (run / "model").exists()
    said = (run / "train.log").read_text()
    assert said.count("stdout: cannot be written: Bad file descriptor") == 1
    for file in run.rglob("*"):
        if file.is_file() and file.name != "train.log":
            assert b"Initial loss" not in file.read_bytes()
            assert b"The model is in" not in file.read_bytes()


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
    ],
    ids=["ascii", "latin-1", "C"],
)
def test_titles_are_printed_with_something_for_what_the_terminal_lacks(
    env: dict[str, str], home: Path, tmp_path: Path
) -> None:
    (tmp_path / "titles.csv").write_text(TITLES, encoding="utf-8")
    done = shell(f"{COFI} recommend {home}/runs/c --user 1 -k 3 --titles titles.csv", tmp_path, **env)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("latin-1").splitlines()
    assert len(lines) == 4
    assert all(r"\u5929\u4f7f \x1b[31m" in line and len(line) <= 80 for line in lines[1:])


def test_names_that_would_steer_a_terminal_are_shown_harmlessly(tmp_path: Path) -> None:
    done = cofi("config", "a\x1b[2Jb\u202ec.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("cofi-dist: a\\x1b[2Jb\\u202ec.yaml: ")
