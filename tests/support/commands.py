"""Commands that use a model, for the tests."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cofi_dist.cli.recommend import recommend as recommend_command
from cofi_dist.cli.session import Session

CONFIG = """
data: {ratings: r.csv, test: {fraction: 0.2}}
model: {num_features: 4}
train: {epochs: 60, log_every: 60, lr: 0.02}
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"]
Done = subprocess.CompletedProcess[str]


def cofi(*args: object, cwd: Path, launcher: list[str] | None = None) -> Done:
    command = [sys.executable, *(launcher or []), "-m", "cofi_dist", *map(str, args)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, check=False, timeout=250)


def fine(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    return done.stdout


def recommend(run: Path, **options: Any) -> None:
    """The command `recommend`, in this process."""
    context: Any = SimpleNamespace(obj=Session(), params={}, info_name="recommend")
    recommend_command(context, run, **options)
