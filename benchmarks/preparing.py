"""Ratings per second that are prepared from Parquet and from CSV, and the peak memory. Linux only.

    python -m benchmarks.preparing [--ratings 10000000] [--users 69878] [--items 10677] [--beside FOLDER]

The ratings are made up, in MovieLens' four columns, in random order. Each preparation has its own process,
which imports the package before the clock starts. --beside names another checkout, which takes turns with
this one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.machine import machine, spread
from cofi_dist.config import DataSection
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.sharding.ranges import UserRange


def write(folder: Path, users: int, items: int, count: int) -> None:
    """Write the same ratings as Parquet and as CSV."""
    rng, ratings = (
        np.random.default_rng(0),
        SyntheticRatings(users, items, count, 0).load(UserRange(0, users)),
    )
    order = rng.permutation(count)
    columns = {
        "userId": ratings.user[order].astype(np.int64) + 1,
        "movieId": ratings.item[order].astype(np.int64) + 1,
        "rating": ratings.value[order].astype(np.float64),
        "timestamp": rng.integers(10**9, 1_500_000_000, count),
    }
    pl.DataFrame(columns).write_parquet(folder / "r.parquet")
    pl.DataFrame(columns).write_csv(folder / "r.csv")


def peak() -> int:
    """Return the most bytes that this process has held resident so far, with pages of mapped files."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def prepare(file: Path) -> None:
    """Print the seconds that the preparation takes, and the process' peak memory."""
    with tempfile.TemporaryDirectory(dir=file.parent) as target:
        start = time.perf_counter()
        with prepare_source(DataSection(ratings=str(file)), Path(target) / "data"):
            seconds = time.perf_counter() - start
    print(seconds, peak())


def main() -> None:
    """Prepare both files in every checkout, in turn, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=69_878)
    parser.add_argument("--items", type=int, default=10_677)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--beside", type=Path, help="another checkout")
    parser.add_argument("--file", type=Path, help="prepare this file, in this process")
    args = parser.parse_args()
    if args.file:
        prepare(args.file)
        return
    checkouts = {"here": Path(__file__).parents[1], **({"beside": args.beside} if args.beside else {})}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.users, args.items, args.ratings)
        for _ in range(args.repeats):
            for name in ("r.parquet", "r.csv"):
                for where, checkout in checkouts.items():
                    # this file, run by the package of that checkout
                    command = [sys.executable, "-c", CHILD, str(Path(__file__)), f"{folder}/{name}"]
                    env = {**os.environ, "PYTHONPATH": str(checkout)}
                    out = subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
                    seconds, held = map(float, out.split())
                    found.setdefault((name, where), []).append((seconds, held))
    print(f"{machine()}; {args.ratings:,} ratings, {args.users:,} x {args.items:,}\n")
    print("| from | seconds | million ratings a second | peak memory, GB |\n|---|---|---|---|")
    for (name, where), measured in found.items():
        seconds_ = [seconds for seconds, _ in measured]
        rates = [args.ratings / seconds / 1e6 for seconds in seconds_]
        most = max(held for _, held in measured) / 1e9
        print(f"| {name}, {where} | {spread(seconds_)} | {spread(rates)} | {most:.2f} |")


CHILD = """
import runpy, sys
file = sys.argv.pop(1)
sys.argv.insert(1, "--file")
runpy.run_path(file, run_name="__main__")
"""

if __name__ == "__main__":
    main()
