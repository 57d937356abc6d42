"""What `cofi_dist.fit` adds to the time of the command's own training, preparation included.

    COFI_DIST_DATA=FOLDER python -m benchmarks.fit [--ratings 10000000] [--epochs 20] [--rounds 5]

Trained are ml-latest-small, and made-up ratings in a Parquet file. In each round the function that the
command calls, `fit` of the file and `fit` of a table in memory take turns, in one process, so that the
machine's ups and downs strike all of them. The first round, which loads the compiled loops, is not counted.
"""

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

import cofi_dist
from benchmarks.machine import machine, spread
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.run.train import train

SMALL_EPOCHS = 300


def main() -> None:
    """Prints the seconds of the three ways, and what `fit` adds, for both data sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(machine())
    small = Path(os.environ.get("COFI_DIST_DATA", "/nowhere")) / "ml-latest-small" / "ratings.csv"
    if small.exists():
        compare(small, SMALL_EPOCHS, args.rounds)
    else:
        print("ml-latest-small is left out: COFI_DIST_DATA names no folder with it")
    with tempfile.TemporaryDirectory() as folder:
        compare(made_up(args.ratings, Path(folder, "ratings.parquet")), args.epochs, args.rounds)


def compare(file: Path, epochs: int, rounds: int) -> None:
    """Print how long each way takes to train on a file."""
    table = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file)
    settings: dict[str, Any] = {"train": {"epochs": epochs}, "progress": False}
    with tempfile.TemporaryDirectory() as folder:
        config, numbers = Path(folder, "c.yaml"), itertools.count()
        config.write_text(f'data: {{ratings: "{file}"}}\ntrain: {{epochs: {epochs}}}\n')
        ways: dict[str, Callable[[], object]] = {
            "command": lambda: train(config, [f"run_dir={folder}/{next(numbers)}"], SoloComm(), quiet=True),
            "fit(file)": lambda: cofi_dist.fit(file, **settings),
            "fit(table)": lambda: cofi_dist.fit(table, **settings),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(rounds + 1):
            for name, work in ways.items():
                began = time.perf_counter()
                work()
                if turn:
                    seconds[name].append(time.perf_counter() - began)
    print(f"\n{len(table):,} ratings, {epochs} epochs, 100 features")
    usual = median(seconds["command"])
    for name, measured in seconds.items():
        added = median(measured) - usual
        print(
            f"{name:10} {spread(measured)} s; beside the command {added:+.2f} s, {100 * added / usual:+.1f} %"
        )


def made_up(num_ratings: int, file: Path) -> Path:
    """Write different pairs of users and items, in random order, with ratings in half stars."""
    rng = np.random.default_rng(1)
    num_users, num_items = max(num_ratings // 150, 2), max(num_ratings // 400, 2)
    cells = np.unique(rng.integers(0, num_users * num_items, int(num_ratings * 1.02)))
    rng.shuffle(cells)
    cells = cells[:num_ratings]
    columns = {
        "userId": cells // num_items,
        "movieId": cells % num_items,
        "rating": rng.integers(1, 11, len(cells)) / 2,
    }
    pl.DataFrame(columns).write_parquet(file)
    return file


if __name__ == "__main__":
    main()
