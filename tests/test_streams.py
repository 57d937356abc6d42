"""What is written to a terminal: escapes for what would steer it, and tables that fit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from cofi_dist.cli.tables import print_table
from cofi_dist.streams import Output, harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é, 天使, e\u0301, \u200d", "plain, é, 天使, e\u0301, \u200d"),
        ("two\nlines\tof it", "two\nlines\tof it"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m\x85\x7f\r", "\\x9b31m\\x85\\x7f\\r"),
        ("\u2028\u2029\u202e\u2066\udce9", "\\u2028\\u2029\\u202e\\u2066\\udce9"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_stdout_escapes_on_a_terminal_and_leaves_files_as_they_are() -> None:
    terminal, end = os.openpty()
    pipe, into = os.pipe()
    for descriptor, reader, want in ((end, terminal, b"a\\x1bb"), (into, pipe, b"a\x1bb")):
        with Output(os.fdopen(descriptor, "wb"), encoding="utf-8", errors="backslashreplace") as out:
            out.write("a\x1bb")
            out.flush()
            assert os.read(reader, 100) == want
        os.close(reader)


@pytest.mark.parametrize(
    "title",
    [
        "天使" * 40,
        "\uff37\uff49" * 60,
        "e\u0301" * 100,
        "x" * 100,
        "\u200b" * 200,
        "a\U0001f600" * 60,
        "天",
        "",
    ],
    ids=["CJK", "wide", "combining", "plain", "zero-width", "emoji", "short", "none"],
)
def test_tables_take_80_columns_of_a_terminal(title: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("rank", "id", "title"), [("1", "天使", title), ("2", "plain", title), ("3", "e\u0301", "")])
    lines = capsys.readouterr().out.splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    fits = cell_len(title) <= 80 - len("rank     id  ")
    assert all((title in line) if fits else line.endswith("...") for line in lines[1:3])
    if not fits:
        assert all(cell_len(line) >= 78 for line in lines[1:3]), "as much as there is room for"
    assert {cell_len(line.partition(f"  {title[:1]}")[0]) for line in lines[1:3] if title[:1].isascii()} <= {
        11,
        0,
    }


def test_whatever_goes_to_stderr_outlasts_its_end() -> None:
    for file in (Path(__file__).parents[1] / "cofi_dist").rglob("*.py"):
        assert "file=sys.stderr" not in file.read_text(), f"{file}: streams.log_stderr writes there"


def test_a_cell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "title"), [("a\nb", "c\td\x1b[0m")])
    assert capsys.readouterr().out.splitlines() == ["  id  title", "a\\nb  c\\td\\x1b[0m"]


WIDE = (
    ("trial", "state", "train.lambda_", "model.num_features", "train.lambda_power", "rmse", "mae", "seconds"),
    [
        ("12", "done", "0.1234", "64", "0.512", "0.85123", "0.65231", "10.2"),
        ("3", "unfinished", "12.3", "16", "-", "-", "-", "0.0"),
    ],
)


@pytest.mark.parametrize("columns", [120, 80, 66])
def test_headers_go_on_in_the_next_line_and_numbers_do_not(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(*WIDE)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= columns
    assert [line.split() for line in lines[-2:]] == [[*row] for row in WIDE[1]]
    ends = {line.rindex(row[-1]) + len(row[-1]) for line, row in zip(lines[-2:], WIDE[1], strict=True)}
    assert len(ends) == 1, "numbers in the last column are aligned to the right"
    pieces = {piece for header in WIDE[0] for piece in re.findall(r"[^._]+[._]?", header)}
    assert {*" ".join(lines[:-2]).split()} <= {*WIDE[0], *pieces, "lambda_power", "num_features"}


def test_a_table_may_be_left_whole_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("", "where"), [("X", "x" * 100)], is_cut=False)
    assert capsys.readouterr().out.splitlines() == ["   where", f"X  {'x' * 100}"]


HUSH = """
import os, threading
from cofi_dist.streams import silenced
before = os.readlink("/proc/self/fd/2")
entered, leave = threading.Event(), threading.Event()
def other():
    with silenced(2):
        entered.set()
        leave.wait()
thread = threading.Thread(target=other)
with silenced(2):
    thread.start()
    entered.wait()
leave.set()
thread.join()
assert os.readlink("/proc/self/fd/2") == before != "/dev/null"
"""


def test_threads_that_hush_the_same_stream_give_it_back() -> None:
    done = subprocess.run([sys.executable, "-c", HUSH], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
