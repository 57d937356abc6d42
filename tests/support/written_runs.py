"""Run directories written by hand, as a run leaves them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cofi_dist.report.popularity import ErrorByPopularity, FoundByPopularity

LOG = """read 100 ratings of 10 users on 20 items
Using cpu device
Num. features: 4
Num. movies:   20
Num. users:    10
Initial loss: 900.5
Epoch       Loss                 RMSE      MAE
    1       900.50000          1.20000  1.00000
    2       800.00000
stopped at epoch 3: because <b>it</b> & "she" said so
"""

# Of a run that was validated by its lists.
EVENTS_CONFIG = """
run_dir: runs/x
data: {ratings: r.csv, feedback: implicit, validation: {}}
validation: {every: 1, k: 20}
"""

# What `evaluate --output` writes.
EVALUATION = {
    "ratings": 1200,
    "users": 7,
    "rmse": 0.87654,
    "mae": 0.5,
    "unseen_items": 0,
    "ranking": {"k": 10, "relevant": None, "users": 6, "ndcg": 0.25, "map": None},
}


def row(epoch: int, cost: float, **more: Any) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "cost": cost,
        "seconds": epoch / 10,
        "ratings_per_second": 1000.0 + epoch,
        **more,
    }


def falling(count: int = 5, *, validated: bool = True) -> list[dict[str, Any]]:
    """Rows whose cost falls, and whose RMSE is lowest in the last but one."""
    rmse = [1 + abs(k - count + 2) / 10 for k in range(count)]
    return [
        row(10 * k + 1, 900.0 / (k + 1))
        | ({"validation_rmse": rmse[k], "validation_mae": rmse[k] - 0.2} if validated else {})
        for k in range(count)
    ]


def rising(count: int = 5, metric: str = "ndcg") -> list[dict[str, Any]]:
    """Rows whose cost falls, and whose figure of lists is highest in the last but one."""
    figure = [0.35 - abs(k - count + 2) / 20 for k in range(count)]
    return [row(k + 1, 900.0 / (k + 1)) | {f"validation_{metric}": figure[k]} for k in range(count)]


def write_run(
    directory: Path,
    rows: Sequence[dict[str, Any]] | None = None,
    ranks: Sequence[int] = (100,),
    config: str = "seed: 1\n",
) -> Path:
    """A run without a model and data; json writes nan and infinities as Python reads them."""
    directory.mkdir(parents=True)
    lines = [json.dumps(line) + "\n" for line in (falling() if rows is None else rows)]
    (directory / "metrics.jsonl").write_text("".join(lines))
    spread = [{"start": k, "stop": k + 1, "ratings": count} for k, count in enumerate(ranks)]
    shards = {"world_size": len(ranks), "num_items": 20, "device": "cpu", "backend": "gloo", "ranks": spread}
    (directory / "shards.json").write_text(json.dumps(shards))
    (directory / "config.yaml").write_text(config)
    (directory / "train.log").write_text(LOG)
    return directory


def found_by_popularity(*counts: int) -> FoundByPopularity:
    count = np.array(counts)
    return FoundByPopularity("test", 10, count, count // 3)


def popularity_errors(*counts: int, part: Any = "test") -> ErrorByPopularity:
    count = np.array(counts)
    return ErrorByPopularity(part, count, 0.81 * count, 0.7 * count)
