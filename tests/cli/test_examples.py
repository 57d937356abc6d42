"""The examples that help shows: two or three of each command, which its parser takes, and which run."""

import re
import shlex
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from cofi_dist.cli.examples import EXAMPLES
from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session

LINES = [line for lines in EXAMPLES.values() for line in lines]
ELSEWHERE = (
    "torchrun",
    "cofi-dist warm-up",
    "cofi-dist data get",
    "cofi-dist quickstart",
    "cofi-dist explore",
)  # minutes, a network, or a server


def words(line: str) -> list[str]:
    """Return the arguments of cofi-dist in a line, up to where the shell has something else to do."""
    found = re.split(r" (?:>|\||&&) ", re.sub(r"^torchrun .*-m cofi_dist", "cofi-dist", line))[0]
    program, *arguments = shlex.split(found)
    assert program == "cofi-dist"
    return arguments


def leaves(group: Any, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


def test_every_command_has_two_or_three() -> None:
    assert set(leaves(typer.main.get_command(app))) == set(EXAMPLES)
    for name, lines in EXAMPLES.items():
        assert 2 <= len(lines) <= 3, name
        assert any(f"cofi-dist {name} " in f"{line} " for line in lines), name


@pytest.mark.parametrize("line", LINES)
def test_the_command_s_own_parser_takes_it(line: str) -> None:
    assert len(line) <= 77, "with the indent, it fits into 80 columns"
    command: Any = typer.main.get_command(app)
    rest = words(line)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        command = command.commands[name]
    with command.make_context(name, rest) as made:
        assert made.params


def test_they_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On a small world of the files that they name, one after the other."""
    rng = np.random.default_rng(0)
    pairs = rng.permutation(60 * 20)[:700]
    rows = [f"{pair // 20},{pair % 20},{rng.integers(1, 6)},{k}" for k, pair in enumerate(pairs)]
    rows += [f"42,7,4,{len(pairs)}"] if 42 * 20 + 7 not in pairs else []
    head = "userId,movieId,rating,timestamp"
    files = {
        "ratings.csv": [head, *rows],
        "later.csv": [head, "1,3,4,9", "2,5,2,9"],
        "new.csv": [head, "90,3,4,9", "90,5,2,9"],
        "logs/1.csv": [head, "1,3,4,9", "2,5,2,9"],
        "logs/2.csv": [head, "1,3,5,9"],
        "new/a.csv": [head, "91,3,4,9", "92,5,2,9"],
        "pairs.csv": ["userId,movieId", "42,7", "1,2"],
        "my-ratings.csv": ["movieId,rating", "7,5", "3,1"],
        "titles.csv": ["movieId,title", *(f"{item},Film {item}" for item in range(20))],
    }
    for name, lines in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("\n".join([*lines, ""]))
    (tmp_path / "mine.yaml").write_text(
        "data: {ratings: ratings.csv, test: {fraction: 0.2}, validation: {fraction: 0.1}}\n"
        "model: {num_features: 3}\ntrain: {epochs: 20, log_every: 10}\nvalidation: {every: 10}\n"
    )
    with chdir(tmp_path):
        for line in LINES:
            if not line.startswith(ELSEWHERE):
                arguments = words(line)
                code = app(arguments, standalone_mode=False, obj=Session()) or 0
                assert code == int("runs/long" in arguments and arguments[0] == "compare"), line
        capsys.readouterr()
    assert (tmp_path / "both.png").exists()
    assert (tmp_path / "mine.html").exists()
