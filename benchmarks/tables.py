"""The same made-up ratings, prepared from files and from tables of every library.

    python -m benchmarks.tables [--ratings 10000000] [--repeats 3]

Each way has processes of its own. Seconds begin when the table is given, and end when its ratings are
prepared and opened. Memory is what the process holds resident in that time, beside the given table;
mapped pages of the prepared files count.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

from benchmarks.machine import machine, spread
from cofi_dist.config import DataSection
from cofi_dist.data.readers.given import as_table
from cofi_dist.data.sources.open import prepare_source


def as_matrix(table: pl.DataFrame) -> Any:
    """A scipy matrix in CSR format."""
    from scipy.sparse import csr_array

    columns = [table[name].to_numpy() for name in table.columns]
    return csr_array((columns[2], (columns[0], columns[1])))


# What is given, made of a polars frame; None: the file of that suffix itself.
WAYS: dict[str, Callable[[pl.DataFrame], Any] | None] = {
    "a CSV file": None,
    "a Parquet file": None,
    "polars": lambda table: table,
    "pandas": lambda table: table.to_pandas(),
    "pandas, ids as objects": lambda table: table.to_pandas().astype({"userId": object}),
    "pandas, ids as text": lambda table: table.with_columns(pl.col("userId").cast(pl.String)).to_pandas(),
    "Arrow": lambda table: table.to_arrow(),
    "scipy CSR": as_matrix,
    "numpy arrays": lambda table: tuple(table[name].to_numpy() for name in table.columns),
    "lists": lambda table: tuple(table[name].to_list() for name in table.columns),
}
FILES = {"a CSV file": "r.csv", "a Parquet file": "r.parquet"}


def write(folder: Path, num_ratings: int) -> None:
    """As many ratings of random pairs, each pair once, in random order; about 143 per user."""
    rng, num_items = np.random.default_rng(0), 10_000
    num_users = max(1, num_ratings // 143)
    drawn = rng.integers(0, num_users, num_ratings * 5 // 4) * num_items
    pairs = np.unique(drawn + (rng.random(len(drawn)) ** 2 * num_items).astype(np.int64))
    pairs = rng.permutation(pairs)[:num_ratings]
    ratings = rng.integers(1, 11, len(pairs)) / 2
    table = pl.DataFrame({"userId": pairs // num_items, "movieId": pairs % num_items, "rating": ratings})
    table.write_csv(folder / "r.csv")
    table.write_parquet(folder / "r.parquet")


def prepare(way: str, folder: Path) -> None:
    """Print the seconds and bytes that it took to prepare what is given."""
    make = WAYS[way]
    given = make(pl.read_parquet(folder / "r.parquet")) if make else folder / FILES[way]
    process, held, done = psutil.Process(), [0], threading.Event()
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.02):
            held.append(process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    start = time.perf_counter()
    table = None if make is None else as_table(given)
    data = DataSection(ratings=str(given)) if table is None else DataSection(table=table.kind)
    with tempfile.TemporaryDirectory(dir=folder) as target:
        with prepare_source(data, Path(target) / "data", table):
            seconds = time.perf_counter() - start
        done.set()
        watching.join()
    print(seconds, max(*held, before) - before)


def main() -> None:
    """Prepare in every way, in turn, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", nargs=2, metavar=("NAME", "FOLDER"), help="one way, in this process")
    args = parser.parse_args()
    if args.way:
        prepare(args.way[0], Path(args.way[1]))
        return
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.ratings)
        for _ in range(args.repeats):
            for way, measured in found.items():
                command = [sys.executable, "-m", "benchmarks.tables", "--way", way, folder]
                printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds, held = map(float, printed.split())
                measured.append((seconds, held))
    print(f"{machine()}; {args.ratings:,} ratings\n")
    print("| given | seconds | memory, GB |\n|---|---|---|")
    for way, measured in found.items():
        most = max(held for _, held in measured)
        print(f"| {way} | {spread([seconds for seconds, _ in measured])} | {most / 1e9:.2f} |")


if __name__ == "__main__":
    main()
