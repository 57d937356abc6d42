"""The help of every command reads on 80 columns."""

import pytest
from typer.testing import CliRunner

from cofi_dist.cli.main import app


def shown(*command: str) -> list[str]:
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert done.exit_code == 0
    return done.output.splitlines()


def commands() -> list[str]:
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    return [name.replace("_", "-") for name in names]


def test_what_each_command_does_is_not_cut_off() -> None:
    lines = shown()
    assert set(commands()) <= {line.split()[0] for line in lines if line.startswith("  ")}
    assert not [line for line in lines[1:] if line.endswith("...")]


@pytest.mark.parametrize("command", commands())
def test_every_option_says_what_it_takes(command: str) -> None:
    lines = shown(command)
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "<int range>" in line or "<str>" in line or "<float>" in line]
