"""What the number of features costs: an epoch of Adam, a sweep of ALS, and the memory of either.

    python -m benchmarks.features [--features 16,32,64,128,256,512] [--ratings 1000000] [--threads 2]

Made-up ratings; each run in a fresh process, by benchmarks.rank. Times are the median epoch of each run
without its first two, and of the repeats, in turn, median (min to max). Memory is the process's peak
beside what it held after a tiny run: ratings being loaded, factors, moments and scratch space.
Linux only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import machine, spread
from benchmarks.rank import Settings

WARM_UP = 2


def run(settings: Settings) -> tuple[float, float]:
    """Milliseconds of an epoch, and megabytes."""
    threads = str(settings.threads)
    env = {**os.environ, "WORLD_SIZE": "1", "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "settings.json", Path(folder) / "result.json"
        given.write_text(json.dumps(asdict(settings)))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.rank", str(given), str(result)], env=env, check=True
        )
        (times,) = json.loads(result.read_text())
    return 1e3 * median(times["epochs"][WARM_UP:]), times["memory"] / 1e6


def main() -> None:
    """A line for each number of features."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", default="16,32,64,128,256,512")
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=6_040)
    parser.add_argument("--items", type=int, default=3_706)
    parser.add_argument("--epochs", type=int, default=22)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.epochs <= WARM_UP:
        parser.error(f"--epochs: more than {WARM_UP}, which are for warming up")
    torch.set_num_threads(args.threads)
    print(machine())
    print(f"{args.ratings:,} made-up ratings, {args.users:,} x {args.items:,}; {args.repeats} repeats\n")
    print("| features | an epoch of Adam, ms | a sweep of ALS, ms | memory of Adam, MB | of ALS, MB |")
    print("|---|---|---|---|---|")
    for features in map(int, args.features.split(",")):
        shape = args.users, args.items, args.ratings, features, args.epochs, args.threads
        found: dict[str, list[tuple[float, float]]] = {"adam": [], "als": []}
        for _ in range(args.repeats):
            for optimizer, runs in found.items():
                runs.append(run(Settings(optimizer, *shape)))
        times = [spread([ms for ms, _ in runs], 1) for runs in found.values()]
        memory = [f"{median(megabytes for _, megabytes in runs):.0f}" for runs in found.values()]
        print(f"| {' | '.join([str(features), *times, *memory])} |", flush=True)


if __name__ == "__main__":
    main()
