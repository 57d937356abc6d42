"""Tables on a terminal: as wide as it is, nothing is cut off, and colours as the user wants them."""

import re

import pytest
from rich.cells import cell_len

from tests.support.terminal import on_terminal

TITLES = ["Plain words " * 12, "天使" * 45, "e\u0301" * 120, "a\U0001f600" * 40, "red \x1b[31m text", ""]
PROGRAM = f"""
from cofi_dist.streams import MARK, Style, log_stderr, open_streams
open_streams()
from cofi_dist.cli.tables import print_table
rows = [(str(number), title) for number, title in enumerate({TITLES!r})]
print_table(("rank", "title"), rows, [Style.best])
log_stderr("it failed \\x1b[31m", mark=MARK)
"""
OURS = re.compile(r"\x1b\[[0-9;]*m")


def shown(columns: int = 80, variables: dict[str, str] | None = None) -> str:
    code, text = on_terminal(["-c", PROGRAM], columns, variables=variables)
    assert code == 0, text
    return text


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_all_of_a_title_is_shown_in_a_column_of_its_own(columns: int) -> None:
    lines = OURS.sub("", shown(columns)).splitlines()
    assert lines[0] == "rank  title"
    assert max(map(cell_len, lines[:-1])) <= columns
    assert all(re.match(r"   \d  |      ", line) or line == "   5" for line in lines[1:-1])
    text = "".join(line[6:] for line in lines[1:-1])
    assert text.replace(" ", "") == "".join(TITLES).replace("\x1b", r"\x1b").replace(" ", "")
    assert lines[-1] == r"cofi-dist: it failed \x1b[31m"


def test_colours_are_for_terminals_of_users_who_want_them() -> None:
    coloured = shown()
    assert "\x1b[1mrank" in coloured
    assert "\x1b[1;32m   0" in coloured
    assert "\x1b[1;31mcofi-dist: \x1b[0mit failed" in coloured
    assert "\x1b[31m" not in coloured, "a title's own colours are none"
    plain = OURS.sub("", coloured)
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}):
        assert "\x1b" not in (text := shown(variables=variables))
        assert [line.rstrip() for line in text.splitlines()] == [x.rstrip() for x in plain.splitlines()]
    assert "\x1b[1mrank" in shown(variables={"TERM": "dumb", "FORCE_COLOR": "1"})


def test_pipes_get_colours_only_by_force(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cofi_dist.cli.tables import print_table

    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    print_table(("id", "title"), [("1", "x" * 90)])
    plain = capsys.readouterr().out
    assert plain == "id  title\n 1  " + "x" * 73 + "...\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_table(("id", "title"), [("1", "x" * 90)])
    assert OURS.sub("", capsys.readouterr().out) == plain
