"""Time to a cost: ALS, without its momentum too, and cmfrec's with conjugate gradients and with Cholesky.

    COFI_DIST_DATA=FOLDER python -m benchmarks.als [--repeats 3] [--no-cholesky]

ml-latest-small, 100 features, lambda 1, from a random start each of its own; solver time only, what is
compiled or loaded once shown apart. cmfrec's objective is twice J: sum err^2 + lambda (|W|^2 + |X|^2),
its user bias not regularised, the ratings centred before. It does not tell its cost on the way, so
it is run anew with ever more iterations, and the shortest run that reaches a target counts.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks.cmf import fit
from benchmarks.epoch import CPU, NUM_FEATURES, load
from benchmarks.machine import machine, spread
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.rowscost import RowsCost
from cofi_dist.data.shards import UserShard
from cofi_dist.distributed import SoloComm
from cofi_dist.factors import Factors, draw_factors
from cofi_dist.optim.als import Als
from cofi_dist.optim.partial import take

TARGETS = (4075.0, 3945.0, 3930.0)
ITERATIONS = (5, 8, 10, 13, 16, 20, 25, 30, 40, 50, 60, 70, 80, 100)
Reached = dict[float, tuple[int, float]]


def cost_of(shard: UserShard, factors: Factors) -> float:
    """J, in float64."""
    regulariser, cost = Regulariser(1.0), RowsCost(shard, CPU, torch.float64)
    wide = Factors(*(factor.double() for factor in factors.by_name.values()))
    norms = regulariser.of_users(wide, cost.norms)
    return float(cost.value(wide) + regulariser.total(norms, wide, cost.norms))


def ours(shard: UserShard, seed: int, *, momentum: bool = True, steps: int = 3) -> Reached:
    """Sweeps and seconds to each target."""
    factors = draw_factors(
        shard.num_items,
        len(shard.users),
        NUM_FEATURES,
        seed=seed,
        users=shard.users,
        device=CPU,
        dtype=torch.float32,
    )
    counts = torch.from_numpy(np.bincount(shard.ratings.item, minlength=shard.num_items))
    cost = RowsCost(shard, CPU, torch.float32, tiled=steps > 0)
    als = Als(cost, factors, Regulariser(1.0), item_counts=counts, steps=steps, tolerance=0.0, alone=True)
    found: Reached = {}
    start, sweeps = time.perf_counter(), 0
    while min(TARGETS) not in found:
        if not momentum:
            als.momentum = 0
        take(als.step(), SoloComm().sum_)
        sweeps += 1
        for target in TARGETS:
            if target >= als.J and target not in found:
                found[target] = sweeps, time.perf_counter() - start
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


def main() -> None:
    """All in turn, and a table of the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-cholesky", action="store_true", help="leave out cmfrec's, which takes minutes")
    args = parser.parse_args()
    name, shard = load()
    start = time.perf_counter()
    ours(shard, 1, momentum=True)
    first = time.perf_counter() - start
    kinds: dict[str, Callable[[int], Reached]] = {
        "als": lambda seed: ours(shard, seed, momentum=True),
        "als without momentum": lambda seed: ours(shard, seed, momentum=False),
        "als, exact": lambda seed: ours(shard, seed, steps=0),
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
    for target in TARGETS:
        print(f"\nJ = {target:g}")
        for kind, runs in found.items():
            got = [run[target] for run in runs if target in run]
            if len(got) < len(runs):
                print(f"{kind:22} not within {ITERATIONS[-1]} iterations")
                continue
            seconds = [took for _, took in got]
            ratios = [took / ours[target][1] for (_, took), ours in zip(got, found["als"], strict=True)]
            print(
                f"{kind:22} {median(n for n, _ in got):4.0f} sweeps {spread(seconds, 3)} s,"
                f" {spread(ratios, 1)} times als"
            )


if __name__ == "__main__":
    main()
