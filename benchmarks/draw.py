"""The first draw, by the notebook's generator and by the counter: seconds, and what training makes of it.

    COFI_DIST_DATA=FOLDER python -m benchmarks.draw [--rows 1e8] [--features 8] [--repeats 3] [--seeds 10]
        [--epochs 300]

The first table: `--rows` users in float32 and 10,000 items, on one rank, on two that draw at the same time,
and on one of 64 alone; a rank is a process of one thread. Seconds are those of the slowest rank; memory is
what a rank holds resident at most, beside what it held before. The second table: the last J on
ml-latest-small, over seeds, by Adam after `--epochs` epochs with lr 0.01, and by ALS with its defaults.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import torch
from scipy import stats

from benchmarks.machine import machine, spread
from cofi_dist.config import DataSection
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.run.train import train
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks
from cofi_dist.training.draw import draw_factors

ITEMS, SHARES = 10_000, 64
INITS = ("notebook", "counter")
TRAININGS = {"adam": ["train.lr=0.01"], "als": ["train.optimizer=als"]}


def draw(comm: Comm, rows: int, features: int, parts: int, init: str) -> tuple[float, float]:
    """A rank's seconds, and the MB that its draw took at most; its users are those of part `rank`."""
    bounds = [part * rows // parts for part in range(parts + 1)]
    users = [UserRange(*bound) for bound in pairwise(bounds)][comm.rank]
    given = {"device": torch.device("cpu"), "dtype": torch.float32, "by_counter": init == "counter"}
    draw_factors(10, 10, features, seed=1, users=UserRange(0, 10), **given)  # type: ignore[arg-type]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    comm.barrier()
    start = time.perf_counter()
    draw_factors(ITEMS, rows, features, seed=1, users=users, **given)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def seconds_table(rows: int, features: int, repeats: int, folder: Path) -> None:
    """Prints the seconds and the memory of both draws, taken in turn."""
    print(f"{rows:,} users x {features} features\n")
    print("| ranks | notebook, s | counter, s | times as fast | notebook, MB a rank | counter, MB |")
    print("|---|---|---|---|---|---|")
    for name, ranks, parts in (("1", 1, 1), ("2", 2, 2), (f"1 of {SHARES}, alone", 1, SHARES)):
        taken: dict[str, list[float]] = {init: [] for init in INITS}
        memory = dict.fromkeys(INITS, 0.0)
        for repeat in range(repeats):
            for init in INITS if repeat % 2 else INITS[::-1]:
                found = run_ranks(ranks, draw, rows, features, parts, init, tmp=folder)
                taken[init].append(max(seconds for seconds, _ in found))
                memory[init] = max(memory[init], *(used for _, used in found))
        ratios = [a / b for a, b in zip(taken["notebook"], taken["counter"], strict=True)]
        print(
            f"| {name} | {spread(taken['notebook'])} | {spread(taken['counter'], 3)} | {spread(ratios, 1)}"
            f" | {memory['notebook']:.0f} | {memory['counter']:.0f} |",
            flush=True,
        )


def last_cost(prepared: Path, folder: Path, overrides: list[str]) -> float:
    """The last J of a run."""
    run_dir = Path(tempfile.mkdtemp(dir=folder)) / "run"
    file = folder / "c.yaml"
    file.write_text(f"data: {{prepared: {prepared}}}\nvalidation: {{}}\n")
    train(file, [*overrides, f"run_dir={run_dir}"], SoloComm(), quiet=True)
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return float([line["cost"] for line in lines if "cost" in line][-1])


def costs_table(seeds: int, epochs: int, folder: Path) -> None:
    """Prints the mean and the spread of the last J over seeds, of both draws."""
    data = folder / "data"
    file = Path(os.environ["COFI_DIST_DATA"]) / "ml-latest-small" / "ratings.csv"
    with prepare_source(DataSection(ratings=str(file)), data) as ready:
        ready.keep(data)
    print(f"\nJ on ml-latest-small, {seeds} seeds\n")
    print("| training | notebook: mean (sd) | counter: mean (sd) | difference | p of Welch's t |")
    print("|---|---|---|---|---|")
    for name, overrides in TRAININGS.items():
        more = [f"train.epochs={epochs}"] if name == "adam" else []
        notebook, counter = (
            [
                last_cost(data, folder, [*overrides, *more, f"train.init={init}", f"seed={seed}"])
                for seed in range(1, seeds + 1)
            ]
            for init in INITS
        )
        difference = mean(counter) - mean(notebook)
        p = stats.ttest_ind(notebook, counter, equal_var=False).pvalue
        print(
            f"| {name} | {mean(notebook):.2f} ({stdev(notebook):.2f}) | {mean(counter):.2f}"
            f" ({stdev(counter):.2f}) | {difference:+.2f} | {p:.2f} |",
            flush=True,
        )


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=float, default=1e8)
    parser.add_argument("--features", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=300)
    args = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        if args.repeats:
            seconds_table(int(args.rows), args.features, args.repeats, Path(folder))
        if args.seeds:
            costs_table(args.seeds, args.epochs, Path(folder))


if __name__ == "__main__":
    main()
