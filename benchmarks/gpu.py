"""An epoch on a CUDA device, by Triton's kernels, as a CUDA graph, by torch's operations; beside a copy.

    bash benchmarks/gpu.sh                               # with the tests in tests/gpu, within ten minutes
    python -m benchmarks.gpu --device cpu --quick        # the same code, where there is no such device

Made-up ratings of the shapes of MovieLens ml-latest-small, 10M and 32M; 100 features, float32. Times are
of the steps alone, without costs printed: median (min to max) of five runs, on the device's own clock.
A graph is an epoch recorded once and played again, which spares the starting of its kernels one by one; the
trainer does that by itself on one device. `invariant` sums in the order of `train.reduction: invariant`.

Bytes are modelled, N ratings, M items, U users, K features: every gathered row counts, found in a cache
or not:

    8 N K + 24 N + 36 (M + U) K

Two gathers of K floats a rating (W for the items' rows, X for the users'), each with an index, a rating and
an offset; a row read and a gradient written, and Adam's parameters and moments read and written. What torch's
operations write down in between (gathered rows, errors) is more, and not counted.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from statistics import median

import numpy as np
import torch

from benchmarks.machine import machine, spread
from cofi_dist.config.train_section import DEFAULT_BLOCKS
from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix
from cofi_dist.data.item_means import item_offsets, item_sums, mean_centred
from cofi_dist.data.shard import UserShard
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import run_step
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.sharding.partition import UserPartition
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.draw import draw_factors

NUM_FEATURES, REPEATS, WARM_UP = 100, 5, 3
SECONDS_A_RUN = 0.3
SIZES = {
    "ml-latest-small's shape": (610, 9_724, 100_836),
    "10 million": (69_878, 10_677, 10_000_000),
    "32 million": (200_948, 84_432, 32_000_204),
}
QUICK_SIZES = {"a small one": (610, 2_000, 20_000), "a larger one": (1_400, 2_000, 200_000)}
Step = Callable[[], object]


@dataclass(frozen=True)
class Bench:
    """A device, its clock, and the ratings."""

    device: torch.device
    shard: UserShard

    def factors(self) -> Factors:
        """A start."""
        s = self.shard
        return draw_factors(
            s.num_items,
            len(s.users),
            NUM_FEATURES,
            seed=1,
            users=s.users,
            device=self.device,
            dtype=torch.float32,
        )

    def model_bytes(self) -> int:
        """What an epoch moves, as the docstring above says."""
        N, rows = len(self.shard.ratings), self.shard.num_items + len(self.shard.users)
        return 8 * N * NUM_FEATURES + 24 * N + 36 * rows * NUM_FEATURES


def wait(device: torch.device) -> None:
    """Until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(step: Step, device: torch.device) -> list[float]:
    """Milliseconds of a step in each of the runs, which are as long as SECONDS_A_RUN."""

    def run(steps: int) -> float:
        wait(device)
        start = time.perf_counter()
        for _ in range(steps):
            step()
        wait(device)
        return (time.perf_counter() - start) / steps

    run(WARM_UP)
    steps = max(1, min(500, int(SECONDS_A_RUN / run(1))))
    return [1e3 * run(steps) for _ in range(REPEATS)]


def copy_speed(device: torch.device, megabytes: int) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.ones(megabytes * 2**18, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * len(source) / (median(timed(lambda: target.copy_(source), device)) / 1e3)


def adam_step(bench: Bench, cost: Cost, *, fused: bool = True, graph: bool = False) -> Step:
    """An epoch of Adam, as the trainer takes it where nothing is printed."""
    factors = bench.factors()
    adam = Adam(cost, factors, Regulariser(1.0), lr=1e-3, fused=fused, record=graph)

    def step() -> None:
        run_step(adam.prepare_step(), SoloComm())

    return step


def als_step(bench: Bench, cost: RatingMatrix) -> Step:
    """A sweep of ALS."""
    s, factors = bench.shard, bench.factors()
    counts = torch.from_numpy(np.bincount(s.ratings.item, minlength=s.num_items))
    given = {"item_counts": counts, "steps": 3, "owns_all_users": True}
    halves = WholeItems.build(cost, factors, Regulariser(1.0), **given)  # type: ignore[arg-type]
    als = Als(halves, tolerance=0.0)

    def step() -> None:
        run_step(als.prepare_step(), SoloComm())

    return step


def forms(bench: Bench) -> Iterator[tuple[str, Callable[[], Step]]]:
    """What is timed, made when its turn comes; recorded ones last, as a failure may cost the device."""
    shard, device = bench.shard, bench.device

    own = build_rating_matrix(shard, device, torch.float32)
    name = type(own.by_user).__name__

    @cache
    def by_torch() -> RatingMatrix:
        return build_rating_matrix(shard, device, torch.float32, backend=TorchKernels)

    @cache
    def in_order() -> RatingMatrix:
        spread = UserPartition.balanced(shard.ratings_per_user(), 1, DEFAULT_BLOCKS)
        return build_rating_matrix(replace(shard, blocks=spread.local_blocks(0)), device, torch.float32)

    if len(shard.ratings) < 10**6:
        yield "dense", lambda: adam_step(bench, DenseCost(shard, device), fused=False)
    yield "by torch's operations", lambda: adam_step(bench, SparseCost(by_torch()))
    yield "a sweep of ALS by torch's operations", lambda: als_step(bench, by_torch())
    yield name, lambda: adam_step(bench, SparseCost(own))
    yield f"a sweep of ALS, {name}", lambda: als_step(bench, own)
    yield f"{name}, invariant", lambda: adam_step(bench, SparseCost(in_order()))
    yield f"a sweep of ALS, {name}, invariant", lambda: als_step(bench, in_order())
    if device.type == "cuda":
        yield f"{name}, as a graph", lambda: adam_step(bench, SparseCost(own), graph=True)
        yield f"{name}, invariant, as a graph", lambda: adam_step(bench, SparseCost(in_order()), graph=True)


def line(bench: Bench, name: str, make: Callable[[], Step], copy: float) -> str:
    """Of the table."""
    is_cuda = bench.device.type == "cuda"
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.device)
    try:
        times = timed(make(), bench.device)
    except Exception as error:  # one form that fails on a device is a finding, and the others go on
        reason = (str(error).strip().splitlines() or [""])[0]
        return f"| {name} | failed: {type(error).__name__}: {reason[:90]} | | | |"
    memory = f"{torch.cuda.max_memory_allocated(bench.device) / 1e9:.2f}" if is_cuda else ""
    ratings = len(bench.shard.ratings) / median(times) / 1e3
    if name == "dense" or "ALS" in name:  # of which there is no model here
        return f"| {name} | {spread(times, 3)} | {ratings:.1f} | | {memory} |"
    speed = bench.model_bytes() / (median(times) / 1e3)
    share = f"{speed / 1e9:.1f}, {100 * speed / copy:.0f} % of a copy's"
    return f"| {name} | {spread(times, 3)} | {ratings:.1f} | {share} | {memory} |"


def load(users: int, items: int, ratings: int) -> UserShard:
    """Made-up ratings, centred."""
    everyone = UserRange(0, users)
    whole = SyntheticRatings(users, items, ratings, 0).load(everyone)
    means = item_offsets(item_sums(whole, items, SoloComm()), "item_mean", None)
    return UserShard.single_block(everyone, items, mean_centred(whole, means))


def main() -> None:
    """Every size and form, for as long as there is time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, a short copy")
    parser.add_argument("--seconds", type=float, default=400, help="after which nothing more is begun")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu: torch sees no CUDA device here; --device cpu runs the same code")
    deadline, device = time.monotonic() + args.seconds, torch.device(args.device)
    is_cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if is_cuda else platform.processor() or "CPU"
    print(f"device: {name}, CUDA {torch.version.cuda}; {machine()}")
    copy = copy_speed(device, 64 if args.quick else 1024)
    print(f"a copy reads and writes {copy / 1e9:.1f} GB/s")
    print("bytes of an epoch, modelled: 8 N K + 24 N + 36 (M + U) K")
    for size, (users, items, ratings) in (QUICK_SIZES if args.quick else SIZES).items():
        if time.monotonic() > deadline:
            print(f"\n{size}: left out, {args.seconds:.0f} s are over")
            continue
        bench = Bench(device, load(users, items, ratings))
        print(f"\n{size}: {ratings:,} ratings, {users:,} x {items:,}, {NUM_FEATURES} features;", end=" ")
        lines = [
            "| | ms, median (min to max) | million ratings/s | GB/s | memory, GB |",
            "|---|---|---|---|---|",
        ]
        for form, make in forms(bench):
            late = time.monotonic() > deadline
            lines.append(f"| {form} | no time left | | | |" if late else line(bench, form, make, copy))
        print("\n" + "\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
