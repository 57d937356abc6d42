"""Every command takes an option once, and its paths as names."""

from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer

from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session
from cofi_dist.errors import ConfigError


def commands(group: Any, *words: str) -> list[tuple[tuple[str, ...], Any]]:
    """Every command, with the words that call it."""
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found += commands(command, *words, name) if inner else [((*words, name), command)]
    return found


COMMANDS = commands(typer.main.get_command(app))
OPTIONS = [
    (*words, option.opts[-1])
    for words, command in COMMANDS
    for option in command.params
    if option.param_type_name == "option" and not option.is_flag and not option.multiple
]


@pytest.mark.parametrize("given", OPTIONS, ids=" ".join)
def test_an_option_given_twice_is_named(given: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"^{given[-1]}: is given 2 times; give it once$"):
        app([*given, "a", given[-1], "b"], standalone_mode=False)


def test_what_may_be_given_twice_is_taken_twice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        given = ["tune", "--config", str(tmp_path / "none"), "--grid", "seed=1", "--grid", "train.lr=0.1"]
        app(given, standalone_mode=False, obj=Session())


def test_every_path_of_every_command_is_read_as_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    paths = 0
    for words, command in COMMANDS:
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            kind, *about = get_args(hint) or [hint]
            if Path in (kind, *get_args(kind)):
                paths += 1
                assert about[0].parser("~/x") == Path("/home/somebody/x"), (words, name)
    assert paths > 20


@pytest.mark.parametrize(
    "given",
    [
        ["evaluate", "~no-such-user/run"],
        ["export", "run", "--output", "~no-such-user/out"],
        ["plot", "run", "~no-such-user/run"],
        ["data", "get", "ml-1m", "--root", "~no-such-user"],
    ],
    ids=" ".join,
)
def test_a_home_that_is_not_there_is_said(given: list[str]) -> None:
    with pytest.raises(Exception, match="there is no user no-such-user"):
        app(given, standalone_mode=False)
