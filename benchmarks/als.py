"""Time to a cost: ALS, sparse Adam, the notebook's loop, and cmfrec's ALS; and of whole processes.

    COFI_DIST_DATA=FOLDER python -m benchmarks.als [--repeats 3] [--no-cholesky]

ml-latest-small, 100 features, lambda 1, from a random start each of its own; solver time only, what is
compiled or loaded once shown apart. cmfrec's objective is twice J: sum err^2 + lambda (|W|^2 + |X|^2),
its user bias not regularised, the ratings centred before. It does not tell its cost on the way, so
it is run anew with ever more iterations, and the shortest run that reaches a target counts. The notebook's
loop takes as many epochs as sparse Adam, which computes the same; 200 of its epochs are timed, the rest is
extrapolated. Adam's costs are looked at every tenth epoch.

Last, whole processes to the lowest cost, from the ratings file, everything cached: `cofi-dist train`, with
its run directory and model; and the least script that does it with cmfrec, which saves nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.cmf import fit
from benchmarks.epoch import CPU, NUM_FEATURES, load, start, train
from benchmarks.machine import machine, spread
from cofi_dist.config import TrainSection
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix, half_squared_error
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import run_step
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.run.log import NullLog
from cofi_dist.training.metrics import EpochMetrics
from tests.support.notebook import run_notebook

NOTEBOOK_EPOCHS, TIMED_EPOCHS = 15_000, 200
TARGETS = (4075.0, 3945.0, 3930.0)
ITERATIONS = (5, 8, 10, 13, 16, 20, 25, 30, 40, 50, 60, 70, 80, 100)
Reached = dict[float, tuple[int, float]]


def cost_of(shard: UserShard, factors: Factors) -> float:
    """J, in float64."""
    regulariser, cost = Regulariser(1.0), build_rating_matrix(shard, CPU, torch.float64)
    wide = Factors(*(factor.double() for factor in factors.by_name.values()))
    norms = regulariser.user_squares(wide, cost.sums)
    return float(
        half_squared_error(cost, wide) + regulariser.value(norms, regulariser.item_squares(wide, cost.sums))
    )


def ours(shard: UserShard, seed: int, *, momentum: bool = True, steps: int = 3) -> Reached:
    """Sweeps and seconds to each target."""
    factors = start(shard, seed)
    counts = torch.from_numpy(np.bincount(shard.ratings.item, minlength=shard.num_items))
    cost = build_rating_matrix(shard, CPU, torch.float32, tiled=steps > 0)
    halves = WholeItems.build(
        cost, factors, Regulariser(1.0), item_counts=counts, steps=steps, owns_all_users=True
    )
    als = Als(halves, tolerance=0.0)
    found: Reached = {}
    begun, sweeps = time.perf_counter(), 0
    while min(TARGETS) not in found:
        if not momentum:
            als.momentum = 0
        run_step(als.prepare_step(), SoloComm())
        sweeps += 1
        for target in TARGETS:
            if target >= als.J and target not in found:
                found[target] = sweeps, time.perf_counter() - begun
    assert abs(cost_of(shard, factors) / als.J - 1) < 1e-5
    return found


def theirs(shard: UserShard, seed: int, *, cg: bool) -> Reached:
    """Iterations and seconds of the shortest run to each target."""
    found: Reached = {}
    for iterations in ITERATIONS:
        threads = torch.get_num_threads()
        took, factors = fit(shard, NUM_FEATURES, 1.0, iterations, seed=seed, threads=threads, cg=cg)
        J = cost_of(shard, factors)
        for target in TARGETS:
            if target not in found and target >= J:
                found[target] = iterations, took
        if min(TARGETS) in found:
            break
    return found


def adam(shard: UserShard, seed: int) -> Reached:
    """Epochs and seconds of sparse Adam, by the trainer, as the notebook has it."""
    heard, settings = Heard(), TrainSection(epochs=NOTEBOOK_EPOCHS, log_every=10)
    cost = SparseCost(build_rating_matrix(shard, CPU, torch.float32))
    train(shard, cost, start(shard, seed), settings, heard)
    return heard.reached


class Heard(NullLog):
    """When costs were reached."""

    def __init__(self) -> None:
        self.reached: Reached = {}

    def on_metrics(self, metrics: EpochMetrics) -> None:
        for target in TARGETS:
            if target >= metrics.cost and target not in self.reached:
                self.reached[target] = metrics.epoch, metrics.seconds


def notebook(shard: UserShard, like: Reached) -> Reached:
    """Its own loop, for as many epochs, extrapolated."""
    dense = DenseCost(shard, CPU)
    begun = time.perf_counter()
    run_notebook(dense._Y, dense._R, seed=1, epochs=TIMED_EPOCHS)
    each = (time.perf_counter() - begun) / TIMED_EPOCHS
    return {target: (epochs, each * epochs) for target, (epochs, _) in like.items()}


CMFREC = """
import sys
import numpy as np
import pandas as pd
from cmfrec import CMF
table = pd.read_csv(sys.argv[1])
rating = table.rating - table.groupby("movieId").rating.transform("mean")
table = pd.DataFrame({"UserId": table.userId, "ItemId": table.movieId, "Rating": rating})
CMF(k=100, lambda_=[0, 0, 1, 1, 0, 0], use_cg=True, finalize_chol=False, item_bias=False, center=False,
    niter=int(sys.argv[2]), precompute_for_predictions=False, nthreads=int(sys.argv[3])).fit(table)
"""


def processes(repeats: int, sweeps: int, iterations: int) -> None:
    """Prints the seconds of whole processes, in turn."""
    file = Path(os.environ.get("COFI_DIST_DATA", "/nowhere")) / "ml-latest-small" / "ratings.csv"
    if not file.exists():
        print("\nwhole processes are left out: COFI_DIST_DATA names no folder with ml-latest-small")
        return
    times: dict[str, list[float]] = {"cofi-dist train": [], "a script with cmfrec": []}
    with tempfile.TemporaryDirectory() as folder:
        config, run_dir = Path(folder) / "c.yaml", Path(folder) / "run"
        # the cost of an epoch is that before its step
        train = f"{{optimizer: als, epochs: {sweeps + 1}, log_every: {sweeps + 1}}}"
        config.write_text(f"data: {{ratings: {file}}}\ntrain: {train}\n")
        ours = ["-m", "cofi_dist", "train", "--config", str(config), f"run_dir={run_dir}", "--replace"]
        theirs = ["-c", CMFREC, str(file), str(iterations), str(torch.get_num_threads())]
        for repeat in range(repeats + 1):  # the first fills the caches
            for what, command in zip(times, (ours, theirs), strict=True):
                begun = time.perf_counter()
                subprocess.run([sys.executable, *command], check=True, capture_output=True)
                if repeat:
                    times[what].append(time.perf_counter() - begun)
        last = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
    print(f"\nwhole processes: ours to {last['cost']:.1f} in {sweeps} sweeps, cmfrec {iterations} iterations")
    for what, seconds in times.items():
        print(f"{what:22} {spread(seconds)} s")


def print_reached(found: dict[str, list[Reached]]) -> None:
    """A block for each target."""
    for target in TARGETS:
        print(f"\nJ = {target:g}")
        for kind, runs in found.items():
            got = [run[target] for run in runs if target in run]
            if len(got) < len(runs):
                print(f"{kind:22} not reached")
                continue
            seconds = [took for _, took in got]
            ratios = [took / ours[target][1] for (_, took), ours in zip(got, found["als"], strict=True)]
            print(
                f"{kind:22} {median(n for n, _ in got):5.0f} sweeps {spread(seconds, 3)} s,"
                f" {spread(ratios, 1)} times als"
            )


def main() -> None:
    """All in turn, and the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-cholesky", action="store_true", help="leave out cmfrec's, which takes minutes")
    args = parser.parse_args()
    name, shard = load()
    begun = time.perf_counter()
    ours(shard, 1, momentum=True)
    first = time.perf_counter() - begun
    kinds: dict[str, Callable[[int], Reached]] = {
        "als": lambda seed: ours(shard, seed, momentum=True),
        "als without momentum": lambda seed: ours(shard, seed, momentum=False),
        "als, exact": lambda seed: ours(shard, seed, steps=0),
        "sparse Adam": lambda seed: adam(shard, seed),
        "the notebook's loop": lambda _: notebook(shard, found["sparse Adam"][-1]),
        "cmfrec, CG": partial(theirs, shard, cg=True),
        "cmfrec, Cholesky": partial(theirs, shard, cg=False),
    }
    if args.no_cholesky:
        del kinds["cmfrec, Cholesky"]
    found: dict[str, list[Reached]] = {kind: [] for kind in kinds}
    for repeat in range(args.repeats):
        for kind, run in kinds.items():
            found[kind].append(run(repeat + 1))
    print(f"{machine()}; {name}; the first run of ALS, loops loaded or compiled: {first:.1f} s")
    print_reached(found)
    lowest = min(TARGETS)
    counts = [round(median(run[lowest][0] for run in found[kind])) for kind in ("als", "cmfrec, CG")]
    processes(args.repeats, *counts)


if __name__ == "__main__":
    main()
