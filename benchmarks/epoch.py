"""One epoch: the notebook's loop, `cost: dense` and `cost: sparse`, in turn, on the same ratings.

    python -m benchmarks.epoch [--repeats 5]

On ml-latest-small where COFI_DIST_DATA names its folder, else on made-up ratings of its shape.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import machine, spread
from cofi_dist.config import DataSection, TrainSection
from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix
from cofi_dist.data.item_means import item_offsets, item_sums, mean_centred
from cofi_dist.data.shard import UserShard
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.run.log import NullLog
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.build import build_adam
from cofi_dist.training.callbacks import ProgressListener
from cofi_dist.training.draw import draw_factors
from cofi_dist.training.trainer import Trainer
from tests.support.notebook import run_notebook

CPU, NUM_FEATURES = torch.device("cpu"), 100


def load() -> tuple[str, UserShard]:
    """The ratings, centred, as one shard."""
    file = Path(os.environ.get("COFI_DIST_DATA", "/nowhere")) / "ml-latest-small" / "ratings.csv"
    if file.exists():
        with (
            tempfile.TemporaryDirectory() as folder,
            prepare_source(DataSection(ratings=str(file)), Path(folder) / "data") as p,
        ):
            name, num_users, num_items = "ml-latest-small", p.source.num_users, p.source.num_items
            ratings = p.source.load(UserRange(0, num_users))
    else:
        name, num_users, num_items = "made-up ratings of ml-latest-small's shape", 610, 9724
        ratings = SyntheticRatings(num_users, num_items, 100_836, 0).load(UserRange(0, num_users))
    means = item_offsets(item_sums(ratings, num_items, SoloComm()), "item_mean", None)
    return name, UserShard.single_block(UserRange(0, num_users), num_items, mean_centred(ratings, means))


def start(shard: UserShard, seed: int) -> Factors:
    """The notebook's."""
    return draw_factors(
        shard.num_items,
        len(shard.users),
        NUM_FEATURES,
        seed=seed,
        users=shard.users,
        device=CPU,
        dtype=torch.float32,
    )


def train(
    shard: UserShard, cost: Cost, factors: Factors, settings: TrainSection, listener: ProgressListener
) -> None:
    """Train by Adam on one rank, with the trainer itself."""
    comm = SoloComm()
    Trainer(
        factors=factors,
        optimizer=build_adam(cost, factors, Regulariser(settings.lambda_), settings, is_alone=True),
        settings=settings,
        num_ratings=len(shard.ratings),
        comm=comm,
        reducer=comm,
    ).run(listener)


def ours(shard: UserShard, cost: Cost, kind: str, epochs: int) -> None:
    """`epochs` of the trainer itself, costs printed every 100th."""
    settings = TrainSection(epochs=epochs, cost="dense" if kind == "dense" else "sparse")
    train(shard, cost, start(shard, seed=1), settings, NullLog())


def main() -> None:
    """Times everything in turn, so that a drift of the machine meets all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    name, shard = load()
    dense = DenseCost(shard, CPU)
    loops = SparseCost(build_rating_matrix(shard, CPU, torch.float32))
    start = time.perf_counter()
    ours(shard, loops, "loops", 1)
    loading = time.perf_counter() - start
    runs: dict[str, tuple[int, Callable[[int], object]]] = {
        "notebook's loop": (10, lambda n: run_notebook(dense._Y, dense._R, seed=1, epochs=n)),
        "cost: dense": (10, partial(ours, shard, dense, "dense")),
        "cost: sparse": (200, partial(ours, shard, loops, "loops")),
    }
    times: dict[str, list[float]] = {what: [] for what in runs}
    for repeat in range(repeats + 1):  # the first warms up
        for what, (epochs, run) in runs.items():
            start = time.perf_counter()
            run(epochs)
            # the trainer computes the cost once more than there are epochs, as the notebook does
            if repeat:
                times[what].append(1e3 * (time.perf_counter() - start) / (epochs + 1))
    print(machine())
    print(f"{name}: {len(shard.ratings):,} ratings, {NUM_FEATURES} features, {repeats} repeats")
    print(f"first epoch of the loops, compiled or loaded: {loading:.1f} s\n")
    print("| an epoch | ms, median (min to max) | times faster than the notebook |")
    print("|---|---|---|")
    for what, values in times.items():
        ratios = [a / b for a, b in zip(times["notebook's loop"], values, strict=True)]
        print(f"| {what} | {spread(values)} | {spread(ratios, 1)} |")
    best = median(times["notebook's loop"]) / median(times["cost: sparse"])
    print(f"\ncost: sparse: {best:.1f} times faster than the notebook's loop (of the medians)")


if __name__ == "__main__":
    main()
