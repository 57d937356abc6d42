"""What `cofi_dist.fit` adds to the time of the command's own training, preparation included.

    python -m benchmarks.fit [--ratings 10000000] [--epochs 20] [--rounds 5] [--features 100]
    python -m benchmarks.fit --file ratings.csv --epochs 300

The ratings are made up, as a Parquet file, or those of a file. In each round the command's function, `fit` of
the file and `fit` of a table in memory take turns, in one process, so that the machine's ups and downs strike
all of them. The first round, which loads the compiled loops, is not counted.
"""

import argparse
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


def main() -> None:
    """Prints the seconds of the three ways, and what `fit` adds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path)
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--features", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = args.file or _made_up(args.ratings, Path(folder, "ratings.parquet"))
        table = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file)
        sections: dict[str, Any] = {
            "model": {"num_features": args.features},
            "train": {"epochs": args.epochs},
        }
        config = Path(folder, "c.yaml")
        config.write_text(
            f"data: {{ratings: '{file}'}}\nmodel: {sections['model']}\ntrain: {sections['train']}\n".replace(
                "'", '"'
            )
        )
        runs = iter(range(1000))
        ways: dict[str, Callable[[], object]] = {
            "command": lambda: train(config, [f"run_dir={folder}/run-{next(runs)}"], SoloComm(), quiet=True),
            "fit(file)": lambda: cofi_dist.fit(file, **sections, progress=False),
            "fit(table)": lambda: cofi_dist.fit(table, **sections, progress=False),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(args.rounds + 1):
            for name, work in ways.items():
                began = time.perf_counter()
                work()
                if turn:
                    seconds[name].append(time.perf_counter() - began)
    print(machine())
    print(f"{len(table):,} ratings, {args.epochs} epochs, {args.features} features")
    usual = median(seconds["command"])
    for name, measured in seconds.items():
        added = median(measured) - usual
        print(
            f"{name:10} {spread(measured)} s; beside the command {added:+.2f} s, {100 * added / usual:+.1f} %"
        )


def _made_up(num_ratings: int, file: Path) -> Path:
    """Write pairs of a wide spread of users and items, each once, in random order."""
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
