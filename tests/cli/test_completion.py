"""What the Tab key offers: commands, run directories, the keys of a config and their values."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cofi_dist.cli.completion import complete_data_set, complete_key, complete_override, complete_run
from cofi_dist.cli.main import app

# What readline does at the Tab key: it breaks the line into words, at `=` too, and calls the function.
BASH = """
eval "$({cofi} --show-completion)"
COMP_WORDS=({words}); COMP_CWORD=$(({count} - 1)); _cofi_dist_completion cofi-dist
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(words: list[str], cwd: Path) -> list[str]:
    """Return what a real bash would offer for the last of the words."""
    bin_folder = cwd / "bin"
    if not bin_folder.exists():
        bin_folder.mkdir()
        (bin_folder / "cofi-dist").write_text(f'#!/bin/sh\nexec {sys.executable} -m cofi_dist "$@"\n')
        (bin_folder / "cofi-dist").chmod(0o755)
    quoted = " ".join(f"'{word}'" for word in ["cofi-dist", *words])
    program = BASH.format(cofi="cofi-dist", words=quoted, count=len(words) + 1)
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "--norc", "-c", program],
        cwd=cwd,
        env={**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def a_run(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / ".cofi_dist").touch()


def test_bash_offers_commands_runs_and_keys(tmp_path: Path) -> None:
    a_run(tmp_path / "runs" / "mine")
    (tmp_path / "runs" / "other").mkdir()
    assert offered(["rec"], tmp_path) == ["recommend"]
    assert offered(["evaluate", "ru"], tmp_path) == ["runs/mine"]
    assert offered(["train", "--config", "c.yaml", "train.cg_"], tmp_path) == [
        "train.cg_steps=",
        "train.cg_steps=3",
    ]
    assert offered(["train", "train.optimizer", "=", "a"], tmp_path) == ["adam", "als"]


def test_runs_are_found_below_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/a", "runs/b/c", "x", "deep/1/2/3"):
        a_run(tmp_path / name)
    a_run(tmp_path / "runs/a/inner")
    (tmp_path / "run.txt").touch()
    assert complete_run("") == ["runs/a", "runs/b/c", "x"]
    assert complete_run("runs/b") == ["runs/b/c"]
    assert complete_run("deep/1/") == ["deep/1/2/3"]
    assert complete_run(f"{tmp_path}/x") == [f"{tmp_path}/x"]
    assert complete_run("none/") == []


def test_a_key_is_completed_with_its_values() -> None:
    context = typer.Context(typer.main.get_command(app))
    assert "data.test.fraction=" in complete_override(context, "data.te")
    assert complete_override(context, "train.optim") == [
        "train.optimizer=",
        "train.optimizer=adam",
        "train.optimizer=als",
    ]
    assert complete_override(context, "train.optimizer=al") == ["train.optimizer=als"]
    assert complete_override(context, "model.item_bias=") == ["model.item_bias=true", "model.item_bias=false"]
    assert complete_override(context, "nonsense=") == []
    context.params["overrides"] = ["train.epochs"]
    assert complete_override(context, "=") == ["15000"]


def test_a_key_to_vary_is_completed() -> None:
    assert complete_key("train.lambda_p") == ["train.lambda_power="]


def test_data_sets_are_completed() -> None:
    assert complete_data_set("ml-1") == ["ml-100k", "ml-1m", "ml-10m"]
