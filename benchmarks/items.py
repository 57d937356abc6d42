"""Items on every rank or sharded: memory, seconds and bytes of an epoch, of ranks of one thread each.

    python -m benchmarks.items [--only memory,time] [--optimizers adam,als] [--repeats 3]
        [--network 1gbit] [--scale 1]

memory: 2 million items x 64 features, 20,000 users, 5 million ratings on 4 ranks: the most that the busiest
rank has held resident, and how much of that is beside the process as it was before.

time: the same on 2 ranks, and 10 million ratings on 10,677 items x 100 features. Every run is of fresh
processes, both kinds in turn; an epoch's time is the median of a run's without the first two and without
those whose cost is printed, and of the repeats, median (min to max). --network (Linux, root, iproute2) joins
the two ranks by a cable of such a rate in each direction. --scale takes as large a part of each problem.
"""

import argparse
from dataclasses import replace
from statistics import median

import torch

from benchmarks.machine import machine, spread
from benchmarks.network import Cable, missing
from benchmarks.rank import Settings
from benchmarks.ranks import WARM_UP, Case, measured

KINDS = ("replicated", "sharded")
MANY_ITEMS = Settings("adam", 20_000, 2_000_000, 5_000_000, 64, 6)
FEW_ITEMS = Settings("adam", 69_878, 10_677, 10_000_000, 100, 12)


def scaled(settings: Settings, optimizer: str, scale: float) -> Settings:
    """A part of a problem."""
    sizes = {name: round(scale * getattr(settings, name)) for name in ("users", "items", "ratings")}
    return replace(settings, optimizer=optimizer, **sizes)


def memory(settings: Settings) -> None:
    """The most that the busiest of 4 ranks holds."""
    optimizer, peaks = settings.optimizer, {}
    for kind in KINDS:
        found = measured(Case(kind, replace(settings, kind=kind), 4))
        peaks[kind] = max(times["peak"] for times in found)
        beside = max(times["memory"] for times in found)
        print(
            f"{optimizer}, {kind}: {peaks[kind] / 1e6:,.0f} MB on the busiest of 4 ranks,"
            f" {beside / 1e6:,.0f} MB of them beside the process",
            flush=True,
        )
    print(f"{optimizer}: sharded takes {100 * peaks['sharded'] / peaks['replicated']:.0f} % of replicated")


def seconds(settings: Settings, repeats: int, cable: Cable | None) -> None:
    """An epoch on 2 ranks."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    sent, costs = {}, {}
    for _ in range(repeats):
        for kind in KINDS:
            of_ranks = measured(Case(kind, replace(settings, kind=kind), 2, cable))
            plain = [s for n, s in enumerate(of_ranks[0]["epochs"]) if n >= WARM_UP and (n + 1) % 5]
            found[kind].append(median(plain))
            sent[kind], costs[kind] = max(of_ranks[0]["sent"]), of_ranks[0]["costs"]
    ratios = [b / a for a, b in zip(*(found[kind] for kind in KINDS), strict=True)]
    far = max(abs(costs["sharded"][epoch] / cost - 1) for epoch, cost in costs["replicated"].items())
    link = "" if cable is None else f", {cable.rate}"
    print(
        f"{settings.optimizer}, {settings.ratings:,} ratings x {settings.items:,} items{link}: replicated"
        f" {spread(found['replicated'], 3)} s, sharded {spread(found['sharded'], 3)} s, ratio"
        f" {spread(ratios, 2)}; a rank sends {sent['replicated'] / 1e6:,.1f} and {sent['sharded'] / 1e6:,.1f}"
        f" MB an epoch; costs differ by {far:.1e}",
        flush=True,
    )


def main() -> None:
    """Memory, then seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="memory,time")
    parser.add_argument("--optimizers", default="adam,als")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--network", default="", metavar="RATE")
    parser.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args()
    cable = Cable(args.network) if args.network else None
    if cable is not None and (why := missing()):
        raise SystemExit(f"benchmarks.items: no limited network: {why}")
    torch.set_num_threads(1)
    print(f"{machine()}; ranks of one thread each, gloo")
    for optimizer in args.optimizers.split(","):
        if "memory" in args.only:
            memory(scaled(MANY_ITEMS, optimizer, args.scale))
        for settings in (MANY_ITEMS, FEW_ITEMS) if "time" in args.only else ():
            seconds(scaled(settings, optimizer, args.scale), args.repeats, cable)


if __name__ == "__main__":
    main()
