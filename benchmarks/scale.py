"""A large CSV of made-up ratings, prepared; and trained on, where asked to. Linux only.

    python -m benchmarks.scale                                        # 20 million ratings, prepared
    python -m benchmarks.scale --ratings 100000000 --users 480000 --items 17700 --epochs 5

The file is written once, in --folder, and used again. Memory is the sum over the command's
processes of what each holds resident, sampled ten times a second: pages of mapped files count, in
every process that touched them. The interpreter with the package's imports is measured beside it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from benchmarks.machine import machine
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.sharding.ranges import balanced_ranges

RATINGS_AT_ONCE = 4_000_000


def write_csv(file: Path, source: SyntheticRatings) -> None:
    """userId, movieId, rating and a timestamp, users in order, as MovieLens has them."""
    rng = np.random.default_rng(0)
    temporary = file.with_suffix(".tmp")
    with temporary.open("wb") as out:
        for users in balanced_ranges(
            source.ratings_per_user(), max(1, source.num_ratings // RATINGS_AT_ONCE)
        ):
            ratings = source.load(users)
            table = pl.DataFrame(
                {
                    "userId": ratings.user.astype(np.int64) + users.start + 1,
                    "movieId": ratings.item + 1,
                    "rating": ratings.value,
                    "timestamp": rng.integers(10**9, 1_500_000_000, len(ratings)),
                }
            )
            table.write_csv(out, include_header=users.start == 0)
    temporary.rename(file)


def run(*command: str) -> tuple[float, float]:
    """Seconds, and the most bytes that the command's processes held together."""
    start, most = time.perf_counter(), 0.0
    process = psutil.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            family = [process, *process.children(recursive=True)]
            most = max(most, sum(member.memory_info().rss for member in family))
        except psutil.Error:
            pass  # one of them has just ended
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"benchmarks.scale: failed: {' '.join(command)}")
    return time.perf_counter() - start, most


def main() -> None:
    """Writes, prepares, trains, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=20_000_000)
    parser.add_argument("--users", type=int, default=138_000)
    parser.add_argument("--items", type=int, default=27_000)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=0, help="to train on 2 ranks; 0 for none")
    parser.add_argument("--repeats", type=int, default=3, help="of preparing")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"))
    args = parser.parse_args()
    file = args.folder / f"made-up-{args.users}x{args.items}-{args.ratings}.csv"
    if not file.exists():
        start = time.perf_counter()
        write_csv(file, SyntheticRatings(args.users, args.items, args.ratings, 0))
        print(f"{file}: written in {time.perf_counter() - start:.0f} s")
    print(machine())
    print(
        f"{args.ratings:,} ratings, {args.users:,} x {args.items:,};"
        f" {file.stat().st_size / 1e9:.2f} GB of CSV"
    )
    _, bare = run(sys.executable, "-m", "cofi_dist", "config", "/dev/null", "data={ratings: x}")
    prepared, run_dir = args.folder / "made-up-prepared", args.folder / "made-up-run"
    for _ in range(args.repeats):
        shutil.rmtree(prepared, ignore_errors=True)
        seconds, most = run(
            sys.executable, "-m", "cofi_dist", "prepare", str(file), "--output", str(prepared)
        )
        print(
            f"prepare: {seconds:.1f} s, {args.ratings / seconds / 1e6:.2f} million ratings/s,"
            f" {most / 1e9:.2f} GB, {(most - bare) / 1e9:.2f} beside the interpreter"
        )
    if args.epochs:
        shutil.rmtree(run_dir, ignore_errors=True)
        config = args.folder / "made-up.yaml"
        config.write_text(
            f"data: {{prepared: {prepared}}}\nrun_dir: {run_dir}\nmodel: {{num_features: {args.features}}}\n"
            f"train: {{epochs: {args.epochs}, log_every: 1, lr: 0.01}}\n"
        )
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "cofi_dist"]
        seconds, most = run(sys.executable, *torchrun, "train", "--config", str(config))
        print(f"train, 2 ranks, {args.epochs} epochs: {seconds:.1f} s, {most / 1e9:.2f} GB in all")


if __name__ == "__main__":
    main()
