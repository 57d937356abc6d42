"""Sweeps of ALS to the cold run's cost: from yesterday's model, and from a random start.

    COFI_DIST_DATA=FOLDER python -m benchmarks.warm_start [--only small,large] [--newest 0.1,0.01]

A model is trained on the oldest ratings to convergence, then one on all of them, from a random start (cold)
and from that model (warm, `train.start`). Counted are the sweeps until J is within 1e-4 of the J at which
the cold run converged (tolerance 1e-5, the default). Seconds are those of the sweeps, and of the start:
finding the rows by their ids, and solving for new users and items.

small is ml-latest-small, its ratings in the order of their timestamps. The settings are the notebook's
(lambda 1), also with 10 features, those of configs/ml-latest-small-best.yaml and those of
configs/ml-latest-small-clicks.yaml, always with all ratings to learn from. large is made-up ratings of the
shape of MovieLens 10M, by `data.synthetic`: users arrive evenly over time, and rate evenly from then on. Its
settings are those of benchmarks.large, which learn much of the noise, and some that predict held-out ratings
best.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.machine import machine
from cofi_dist.config import Config
from cofi_dist.data.shard import UserShard
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.model import Model
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import run_step
from cofi_dist.run.outcome import learnt_model
from cofi_dist.run.start_model import StartModel
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.build import build_optimizer, initial_factors
from cofi_dist.training.problem import Problem, load_problem

CPU = torch.device("cpu")
WITHIN, TOLERANCE, MOST_SWEEPS = 1e-4, 1e-5, 500
BEST: dict[str, object] = {"lambda_": 2.7, "lambda_power": 0.32, "lambda_b": 2.5}
CLICKS: dict[str, object] = {"alpha": 0, "unknown_weight": 0.531, "lambda_": 0.0054, "lambda_power": 1}
Sections = tuple[dict[str, object], dict[str, object], dict[str, object]]
# sections data, model and train of the configs
SMALL: dict[str, Sections] = {
    "notebook, K=100": ({}, {"num_features": 100}, {"lambda_": 1}),
    "notebook, K=10": ({}, {"num_features": 10}, {"lambda_": 1}),
    "best": ({"centre": "global_mean"}, {"num_features": 100, "item_bias": True}, BEST),
    "clicks": ({"feedback": "implicit"}, {"num_features": 256}, CLICKS),
}
LARGE: dict[str, Sections] = {
    "made up, K=10, lambda 6": ({}, {"num_features": 10}, {"lambda_": 6}),
    "made up, K=100, lambda 12": ({}, {"num_features": 100}, {"lambda_": 12}),
}


@dataclass
class Run:
    """One run of ALS.

    Attributes:
        costs: J before the first sweep, if it was asked for, and after each.
        seconds: after each sweep, counted from the first.
        starting: seconds of the start.
        model: what was learnt.
    """

    costs: list[float]
    seconds: list[float]
    starting: float
    model: Model

    def reaches(self, target: float) -> int | None:
        """Return the number of sweeps after which J is at most the target."""
        return next((n for n, cost in enumerate(self.costs, 1) if cost <= target), None)


def run_als(problem: Problem, shard: UserShard, start: Model | None, until: float | None = None) -> Run:
    """Sweep until J is at most `until`; without that, until a sweep changes J by less than the tolerance."""
    begun = time.perf_counter()
    factors = initial_factors(problem)
    if start is not None:
        StartModel(start).start(problem, shard, factors, SoloComm())
    starting = time.perf_counter() - begun
    als = build_optimizer(problem, shard, factors)
    assert isinstance(als, Als)
    costs, seconds, begun = list[float](), list[float](), time.perf_counter()
    while len(costs) < MOST_SWEEPS and not (until >= als.J if until is not None else als.is_converged):
        run_step(als.prepare_step(), SoloComm())
        costs.append(als.J)
        seconds.append(time.perf_counter() - begun)
    model = learnt_model(problem, factors, SoloComm())
    assert isinstance(model, Model)  # of one process
    return Run(costs, seconds, starting, model)


def load(file: Path, sections: Sections) -> tuple[Problem, UserShard]:
    data, model, train = sections
    config = Config.model_validate(
        {
            "run_dir": "none",
            "data": {**data, "ratings": str(file)},
            "model": model,
            "train": {**train, "optimizer": "als", "tolerance": TOLERANCE, "epochs": MOST_SWEEPS},
        }
    )
    with (
        tempfile.TemporaryDirectory(dir=file.parent) as folder,
        prepare_source(config.data, Path(folder) / "r") as ready,
    ):
        ready.keep(Path(folder) / "r")
        return load_problem(config, Path(folder) / "r", CPU, SoloComm())


def compare(name: str, table: pl.DataFrame, newest: float, sections: Sections, folder: Path) -> None:
    """Print a row: the newest part of the ratings, what is new, and both runs to the same cost."""
    oldest = table.sort("timestamp", maintain_order=True).head(round((1 - newest) * len(table)))
    for kind, ratings in (("old", oldest), ("all", table)):
        ratings.write_parquet(folder / f"{kind}.parquet")
    old = run_als(*load(folder / "old.parquet", sections), None).model
    problem, shard = load(folder / "all.parquet", sections)
    cold = run_als(problem, shard, None)
    target = cold.costs[-1] * (1 + WITHIN)
    warm = run_als(problem, shard, old, until=target)
    sweeps, swept = cold.reaches(target), warm.reaches(target)
    assert sweeps is not None
    new_users, new_items = (
        len(problem.source.ids[0]) - len(old.users),
        len(problem.source.ids[1]) - len(old.items),
    )
    cells = [
        name,
        f"{len(table):,}",
        f"{newest:.0%}",
        f"{new_users:,}",
        f"{new_items:,}",
        f"{sweeps}, {cold.seconds[sweeps - 1]:.3g} s",
    ]
    if swept is None:
        cells += [f"not in {MOST_SWEEPS}", f"{warm.starting:.2g} s", "", ""]
    else:
        took = warm.seconds[swept - 1]
        cells += [f"{swept}, {took:.3g} s", f"{warm.starting:.2g} s", f"{swept / sweeps:.2f}"]
        cells += [f"{(took + warm.starting) / (cold.starting + cold.seconds[sweeps - 1]):.2f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def made_up(num_users: int, num_items: int, num_ratings: int) -> pl.DataFrame:
    """Return made-up ratings in the columns of a MovieLens file, each with a time between 0 and 1."""
    ratings = SyntheticRatings(num_users, num_items, num_ratings, 0).load(UserRange(0, num_users))
    rng = np.random.default_rng(0)
    arrived = rng.random(num_users)[ratings.user]
    when = arrived + (1 - arrived) * rng.random(len(ratings))
    return pl.DataFrame(
        {
            "userId": ratings.user,
            "movieId": ratings.item,
            "rating": ratings.value,
            "timestamp": (1e9 * when).astype(np.int64),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="small,large")
    parser.add_argument(
        "--newest", default="0.1,0.01", help="parts of the ratings that yesterday's model lacks"
    )
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=69_878)
    parser.add_argument("--items", type=int, default=10_677)
    args = parser.parse_args()
    print(machine() + "\n")
    columns = ["settings", "ratings", "newest", "new users", "new items", "cold", "warm", "start"]
    columns += ["warm / cold: sweeps", "seconds"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    parts = [float(text) for text in args.newest.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        if "small" in args.only:
            table = pl.read_csv(Path(os.environ["COFI_DIST_DATA"]) / "ml-latest-small" / "ratings.csv")
            for name, sections in SMALL.items():
                for part in parts:
                    compare(name, table, part, sections, Path(folder))
        if "large" in args.only:
            table = made_up(args.users, args.items, args.ratings)
            for name, sections in LARGE.items():
                for part in parts:
                    compare(name, table, part, sections, Path(folder))


if __name__ == "__main__":
    main()
