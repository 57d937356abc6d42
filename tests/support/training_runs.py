"""The whole of `cofi-dist train`, on one process or several, and what it left behind."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cofi_dist.distributed.comm import Comm
from cofi_dist.model import Model
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks


@dataclass
class Trained:
    """A finished run."""

    costs: dict[int, float]
    model: Model
    stdout: list[str]


def train_on(world_size: int, config: str, overrides: list[str], tmp: Path, seconds: float = 60.0) -> Trained:
    """Train a YAML text with overrides; the run directory is a new one below `tmp`."""
    run_dir = tmp / f"run-{world_size}-{len(list(tmp.iterdir()))}"
    file = tmp / "config.yaml"
    file.write_text(config)
    overrides = [*overrides, f"run_dir={run_dir}"]
    stdout = run_ranks(world_size, _train, file, overrides, tmp=tmp, seconds=seconds)
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    costs = {m["epoch"]: m["cost"] for m in lines}
    return Trained(costs, Model.load(run_dir / "model"), stdout[0].splitlines())


def _train(comm: Comm, file: Path, overrides: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        train(file, overrides, comm)
    return stdout.getvalue()


def notebook_arrays(ratings: Path) -> tuple[Tensor, Tensor]:
    """Y and R of a ratings.csv as the notebook had them; no code of the package."""
    table = np.loadtxt(ratings, delimiter=",", skiprows=1, usecols=(0, 1, 2))
    users, user = np.unique(table[:, 0], return_inverse=True)
    items, item = np.unique(table[:, 1], return_inverse=True)
    Y, R = np.zeros((len(items), len(users))), np.zeros((len(items), len(users)))
    Y[item, user], R[item, user] = table[:, 2], 1.0
    means = Y.sum(axis=1) / R.sum(axis=1)
    return torch.tensor((Y - means[:, None]) * R), torch.tensor(R)
