"""Evaluating a model on a million held-out ratings, beside making the lists of 10 that it judges.

    python -m benchmarks.evaluate [--ratings 10000000] [--users 69878] [--items 10677] [--features 64]
        [--repeats 5]

A tenth of made-up ratings is held out; the factors are those of two sweeps of ALS. All is timed in one
process, in turns, after a first round that is not counted:

- lists: of every user, with raw ids, without the user's own ratings of any part;
- evaluate: of the held-out part;
- evaluate a table: of the same ratings as a polars table in random order, by raw ids.

Where there is a CUDA device, lists and evaluation on it are added. Memory is what the process holds resident
beyond what it held before the call; pages of the files count.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import psutil
import torch

from benchmarks.machine import machine, spread
from cofi_dist import fit
from cofi_dist.config import DataSection
from cofi_dist.data.sources.open import open_source
from cofi_dist.model.evaluate import evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.sharding.ranges import UserRange


def made_up(folder: Path, num_users: int, num_items: int, num_ratings: int) -> Path:
    """A file of made-up ratings, by row numbers."""
    shape = {"num_users": num_users, "num_items": num_items, "num_ratings": num_ratings}
    source = open_source(DataSection.model_validate({"synthetic": shape}), folder)
    ratings = source.load(UserRange(0, num_users))
    table = pl.DataFrame({"userId": ratings.user, "movieId": ratings.item, "rating": ratings.value})
    table.write_parquet(folder / "r.parquet")
    return folder / "r.parquet"


def measured(call: Callable[[], object]) -> tuple[float, int]:
    """Seconds and bytes that it takes."""
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    held = [before]

    def watch() -> None:
        while not done.wait(0.02):
            held.append(process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    done.set()
    watching.join()
    return seconds, max(held) - before


def main() -> None:
    """Measure all in turns, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=69_878)
    parser.add_argument("--items", type=int, default=10_677)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = fit(
            made_up(Path(folder), args.users, args.items, args.ratings),
            data={"test": {"by": "random", "fraction": 0.1}},
            model={"num_features": args.features},
            train={"optimizer": "als", "epochs": 3, "lambda_": 12.0},
            run_dir=Path(folder) / "run",
            progress=False,
        )
        rated = model.rated(Path(folder) / "run")
        everyone = UserRange(0, len(model.users))
        test = rated.load(everyone, "test")
        columns = {"user": model.users.raw[test.user], "item": model.items.raw[test.item]}
        table = pl.DataFrame(columns | {"value": test.value}).sample(fraction=1.0, shuffle=True, seed=1)
        ways: dict[str, Callable[[], object]] = {
            "lists": lambda: sum(map(len, model.recommend_all(10, rated, device="cpu"))),
            "evaluate": lambda: evaluate(model.scorer, HeldOut.from_run(rated, "test"), rated),
            "evaluate a table": lambda: model.evaluate(table, rated, device="cpu"),
        }
        if torch.cuda.is_available():
            ways |= {
                "lists, CUDA": lambda: sum(map(len, model.recommend_all(10, rated, device="cuda"))),
                "evaluate a table, CUDA": lambda: model.evaluate(table, rated, device="cuda"),
            }
        found: dict[str, list[tuple[float, int]]] = {way: [] for way in ways}
        for turn in range(args.repeats + 1):
            for way, call in ways.items():
                seconds, held = measured(call)
                if turn:
                    found[way].append((seconds, held))
        shape = f"{args.users:,} x {args.items:,} x {args.features}"
        print(f"{machine()}; {len(test):,} held-out ratings, {shape}\n")
    print("| | seconds | times the lists' | memory, GB |\n|---|---|---|---|")
    lists = [seconds for seconds, _ in found["lists"]]
    for way, turns in found.items():
        times = [seconds / of_lists for (seconds, _), of_lists in zip(turns, lists, strict=True)]
        most = max(held for _, held in turns) / 1e9
        print(f"| {way} | {spread([seconds for seconds, _ in turns])} | {spread(times)} | {most:.2f} |")


if __name__ == "__main__":
    main()
