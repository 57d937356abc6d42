"""Runs that are broken off and gone on with, for the tests."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from cofi_dist.checkpoint.manifest import list_checkpoints, read_manifest
from cofi_dist.checkpoint.reader import Checkpoint, load_tensors
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.model import Model
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks

CONFIG = """
data: {synthetic: {num_users: 60, num_items: 40, num_ratings: 900}, validation: {}}
model: {num_features: 4, item_bias: true}
train: {log_every: 10, lr: 0.01, dtype: float64, lambda_power: 0.5, lambda_b: 0.3}
validation: {every: 7}
checkpoint: {every: 10, resume: auto}
"""


def _train(comm: Comm, file: Path, overrides: list[str]) -> None:
    train(file, overrides, comm, quiet=True)


def run(tmp: Path, ranks: int, epochs: int, name: str, *overrides: str) -> Path:
    """Train to so many epochs, going on with what is there; returns the run directory."""
    file, run_dir = tmp / "c.yaml", tmp / name
    file.write_text(CONFIG)
    given = [f"train.epochs={epochs}", f"run_dir={run_dir}", *overrides]
    if ranks == 1:
        _train(SoloComm(), file, given)
    else:
        run_ranks(ranks, _train, file, given, tmp=tmp)
    return run_dir


def metrics(run_dir: Path) -> list[dict[str, Any]]:
    """What was printed, without times and saves."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    timed = ("seconds", "ratings_per_second")
    return [{k: v for k, v in line.items() if k not in timed} for line in lines if "checkpoint" not in line]


def tensors(run_dir: Path) -> dict[str, Tensor]:
    """Every tensor of the newest checkpoint, put together, and of the model."""
    directory = list_checkpoints(run_dir / "checkpoints")[0]
    whole = load_tensors(Checkpoint(directory, read_manifest(directory)))
    model = {f"model.{name}": t for name, t in Model.load(run_dir).tensors.items()}
    return {**whole, **model}
