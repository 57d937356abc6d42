"""A command imports what it needs: one that computes nothing no torch, and one about a model neither."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.support.models import trained

# Runs groups of commands in one process, and prints after each group which of some modules are loaded.
PROGRAM = """
import contextlib, json, sys
from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session

for commands, names in json.loads(sys.argv[1]):
    for words in commands:
        with contextlib.redirect_stdout(sys.stderr):
            app(words, standalone_mode=False, obj=Session())
    print(json.dumps([name for name in names if name in sys.modules]))
"""
SLOW = ["numpy", "polars", "torch", "numba"]


def test_a_command_imports_what_it_needs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.permutation(240)[:150]
    lines = [f"{pair // 20},{pair % 20},{rng.integers(1, 6)}" for pair in pairs]
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating", *lines, ""]))
    config = f"data: {{ratings: {tmp_path / 'r.csv'}, test: {{}}}}\nmodel: {{num_features: 3}}\n"
    model = trained(tmp_path, config, "train.epochs=2", "checkpoint.every=1")
    run, user, item = str(tmp_path / "run"), str(model.users.raw[0]), str(model.items.raw[0])
    nothing = [["--help"], ["data", "list"], ["config", str(tmp_path / "run.yaml")], ["checkpoints", run]]
    of_model = [
        ["recommend", run, "--user", user],
        ["similar", run, "--item", item],
        ["predict", run, "--pairs", str(tmp_path / "r.csv"), "--output", str(tmp_path / "p.csv")],
        ["explain", run, "--user", user, "--item", item],
    ]
    groups = [(nothing, SLOW), (of_model, ["torch", "numba"])]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(groups)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[], []], done.stderr
