"""Small searches, for the tests."""

import json
from pathlib import Path
from typing import Any

from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.run.screen import StreamScreen
from cofi_dist.run.stop import StopRequest
from cofi_dist.tuning.search import Search, Worker, file_search

CONFIG = """
data:
  synthetic: {num_users: 30, num_items: 40, num_ratings: 300}
  validation: {}
model: {num_features: 3}
train: {epochs: 40, lr: 0.01, dtype: float64}
validation: {every: 5}
"""
SPACE = ["train.lambda_=log:0.1:100", "model.num_features=2,4", "train.lr=log:1e-3:10"]


def searched(tmp: Path, *overrides: str, name: str = "out", space: list[str] = SPACE) -> Search:
    """Return a search whose config is c.yaml, which is written if it is not there."""
    file = tmp / "c.yaml"
    if not file.exists():
        file.write_text(CONFIG)
    return file_search(file, space, overrides, tmp / name)


def work(search: Search, trials: int, comm: Comm | None = None, stop: StopRequest | None = None) -> list[str]:
    """Train trials in this process, and return what was said."""
    said: list[str] = []
    Worker(
        search=search,
        trials=trials,
        comm=comm or SoloComm(),
        stop=stop or StopRequest(),
        screen=StreamScreen(quiet=True),
        say=said.append,
    ).work()
    return said


def results(search: Search) -> dict[str, dict[str, Any]]:
    """Return the result of each trial that has one, by the name of its directory."""
    return {
        file.parent.name: json.loads(file.read_text()) for file in sorted(search.output.glob("*/result.json"))
    }


def epochs(run: Path) -> list[int]:
    """Return the epochs that were printed in a run, in the order in which they were."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line["epoch"] for line in lines if "cost" in line]
