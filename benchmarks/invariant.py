"""`train.reduction: invariant`: that the bits are the same on any ranks, and what it costs beside `fast`.

    COFI_DIST_DATA=FOLDER python -m benchmarks.invariant [--repeats 5] [--no-table | --no-price]

The table: ml-latest-small, 300 epochs of Adam and 10 sweeps of ALS on 1, 2, 3, 4 and 8 ranks of one and of
two threads, and begun on 4, gone on with on 3 and ended on 1; the last digits of each sha256 of the final
tensors, and of all printed costs; runs with the same bits share a line, and where there are two for one run,
the exit code is 1. The price: an epoch on one rank of one thread and on two, `fast` and `invariant` in turn,
each in fresh processes.
"""

import argparse
import hashlib
import json
import math
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import machine, spread
from benchmarks.rank import Settings
from benchmarks.ranks import Case, run
from cofi_dist.config import DataSection
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.distributed.comm import Comm
from cofi_dist.model import Model
from cofi_dist.run.train import train
from cofi_dist.testing import run_ranks

RANKS = [(ranks, threads) for threads in (1, 2) for ranks in (1, 2, 3, 4, 8)]
# a run's epochs, and where it is gone on with on other ranks
RUNS = {
    f"{optimizer} {dtype}": ([f"train.optimizer={optimizer}", f"train.dtype={dtype}"], epochs)
    for optimizer, epochs in (("adam", (100, 200, 300)), ("als", (4, 7, 10)))
    for dtype in ("float32", "float64")
}
LARGE = (69_878, 10_677, 10_000_000, 100)
SMALL = (610, 9724, 100_836, 100)


def _train(comm: Comm, file: Path, overrides: list[str], threads: int) -> None:
    torch.set_num_threads(threads)
    train(file, overrides, comm, quiet=True)


def digests(prepared: Path, folder: Path, stages: list[tuple[int, int, int]], overrides: list[str]) -> str:
    """The last 8 digits of sha256, of the printed costs and of X, W and b.

    A stage is (ranks, threads, epochs): on what a run is begun, or gone on with, and until when.
    """
    run_dir = Path(tempfile.mkdtemp(dir=folder)) / "run"
    file = folder / "c.yaml"
    file.write_text(f"data: {{prepared: {prepared}}}\n")
    given = [*overrides, "train.reduction=invariant", "train.log_every=1", f"run_dir={run_dir}"]
    given += ["checkpoint.resume=auto", f"checkpoint.every={math.gcd(*(epochs for *_, epochs in stages))}"]
    for ranks, threads, epochs in stages:
        run_ranks(ranks, _train, file, [*given, f"train.epochs={epochs}"], threads, tmp=folder, seconds=600)
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    costs = json.dumps([line["cost"] for line in lines if "cost" in line]).encode()
    factors = Model.load(run_dir).factors
    tensors = [t.contiguous().numpy().tobytes() for t in (factors.X, factors.W, factors.b)]
    return " | ".join(hashlib.sha256(bits).hexdigest()[-8:] for bits in (costs, *tensors))


def table(prepared: Path, folder: Path) -> bool:
    """Prints the digests of every run, those that are the same in one line; whether they all are."""
    print("| run | ranks x threads | costs | X | W | b |\n|---|---|---|---|---|---|")
    alike = True
    for name, (overrides, epochs) in RUNS.items():
        same: dict[str, list[str]] = {}
        for ranks, threads in RANKS:
            cells = digests(prepared, folder, [(ranks, threads, epochs[-1])], overrides)
            same.setdefault(cells, []).append(f"{ranks} x {threads}")
        moved = [(ranks, 1, end) for ranks, end in zip((4, 3, 1), epochs, strict=True)]
        same.setdefault(digests(prepared, folder, moved, overrides), []).append("4, then 3, then 1")
        alike &= len(same) == 1
        for cells, where in same.items():
            print(f"| {name} | {', '.join(where)} | {cells} |", flush=True)
    return alike


def price(prepared: Path, repeats: int) -> None:
    """Prints an epoch's time in both modes."""
    print("\n| ratings | run | ranks | fast, s an epoch | invariant | times as long |")
    print("|---|---|---|---|---|---|")
    for shape, name in ((SMALL, "ml-latest-small"), (LARGE, "10 million")):
        for optimizer, epochs in (("adam", 200 if shape is SMALL else 12), ("als", 12)):
            for ranks in (1, 2):
                where = str(prepared) if shape is SMALL else ""
                settings = Settings(optimizer, *shape, epochs=epochs, prepared=where)
                modes = [
                    Case(mode, replace(settings, reduction=mode), ranks) for mode in ("fast", "invariant")
                ]
                for repeat in range(repeats):
                    for case in modes if repeat % 2 else modes[::-1]:
                        run(case)
                fast, invariant = (case.seconds for case in modes)
                ratios = [b / a for a, b in zip(fast, invariant, strict=True)]
                print(
                    f"| {name} | {optimizer} | {ranks} | {spread(fast, 4)} | {spread(invariant, 4)}"
                    f" | {median(invariant) / median(fast):.3f}; {spread(ratios, 3)} |",
                    flush=True,
                )


def main() -> None:
    """Prints both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-table", action="store_true")
    parser.add_argument("--no-price", action="store_true")
    args = parser.parse_args()
    print(machine())
    file = Path(os.environ["COFI_DIST_DATA"]) / "ml-latest-small" / "ratings.csv"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with prepare_source(DataSection(ratings=str(file)), folder / "data") as ready:
            ready.keep(folder / "data")
        alike = args.no_table or table(folder / "data", folder)
        if not args.no_price:
            price(folder / "data", args.repeats)
    if not alike:
        sys.exit("the bits differ, see the table")


if __name__ == "__main__":
    main()
