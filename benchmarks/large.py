"""Ten million made-up ratings: `als`, sparse Adam, cmfrec's ALS, LIBMF and Spark's ALS on equal threads.

    python -m benchmarks.large [--only als,adam,cmfrec,libmf,spark] [--threads 2]
        [--points spark=1,3 ...] [--output points.json] [--picture large.png]

A random tenth of the ratings is for testing. All learn from the same others, less their item's mean, which
is added to every prediction again, and each solves in a process of its own that does nothing else.
Seconds are the solver's: loading, converting, compiling and other set-up are a column of their own
(benchmarks.contest says how they are told apart).

J is compared where it is the same: cmfrec's objective is twice ours, see benchmarks.als. The other two
minimise something else, so only their speed and the test RMSE stand beside ours:

- Spark: sum err^2 + regParam (sum_j n_j |w_j|^2 + sum_i n_i |x_i|^2), n the numbers of ratings. That
  is twice J with train.lambda_power=1 and train.lambda_=regParam, but for the users' biases, which
  Spark lacks; it can only put them into a feature. Its default regParam, 0.1, is taken. Each row is solved
  exactly, so that a sweep costs more, and gains more, than three steps of conjugate gradients.
- LIBMF: the same sum, as it takes a step of lambda w_j for each rating of j, and no biases either;
  stochastic gradients with a rate for each row, lambda 0.1 and eta 0.1 as its command line has.

What the three need, beside the extra `bench`:

    CFLAGS="-O3 -march=native -DUSEAVX -DUSEOMP -fopenmp" LDFLAGS=-fopenmp \
      pip install --no-cache-dir --no-binary libmf libmf
    pip install cmfrec pandas
    pip install pyspark && apt-get install -y default-jre-headless libopenblas0

LIBMF without these flags has no AVX; Spark without BLAS takes three times as long.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.contest import Settings
from benchmarks.machine import machine
from benchmarks.peers import SOLVERS

NEEDS = {
    "cmfrec": ("cmfrec", "pip install cmfrec pandas"),
    "libmf": ("libmf", "pip install --no-binary libmf libmf (with the CFLAGS that --help shows)"),
    "spark": (
        "pyspark",
        "pip install pyspark, and Java: apt-get install -y default-jre-headless libopenblas0",
    ),
}
LABELS = {
    "als": "cofi_dist, als",
    "adam": "cofi_dist, sparse Adam",
    "cmfrec": "cmfrec, ALS with CG",
    "libmf": "LIBMF",
    "spark": "Spark ALS",
}
POINTS = {
    "als": "1-30",
    "adam": "5,10,20,30,40,50,60,80,100,120,140,160,180,200",
    "cmfrec": "1,2,3,5,10,20",
    "libmf": "1,2,3,5,10,20,40",
    "spark": "1,2,5,10",
}
GOAL = 10  # sweeps of cmfrec whose cost the others have to reach
Found = dict[str, dict[str, Any]]


def numbers(text: str) -> list[int]:
    """`1-3,5` is 1, 2, 3, 5."""
    ranges = [part.split("-") for part in text.split(",")]
    return sorted({n for ends in ranges for n in range(int(ends[0]), int(ends[-1]) + 1)})


def require(names: Sequence[str]) -> None:
    """End with the command that installs what is missing."""
    for name in names:
        if name not in SOLVERS:
            raise SystemExit(f"benchmarks.large: {name} is none of {', '.join(SOLVERS)}")
        module, how = NEEDS.get(name, ("cofi_dist", ""))
        if find_spec(module) is None or (name == "spark" and shutil.which("java") is None):
            raise SystemExit(f"benchmarks.large: {name} is not installed: {how}; or leave it out of --only")


def solve(name: str, settings: Settings) -> dict[str, Any]:
    """What one solver did, in a fresh process."""
    threads = str(settings.threads)
    env = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    if name == "spark":
        env["OPENBLAS_NUM_THREADS"] = "1"  # as its manual asks: it has threads of its own
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "settings.json", Path(folder) / "result.json"
        given.write_text(json.dumps(asdict(settings)))
        command = [sys.executable, "-m", "benchmarks.peers", name, str(given), str(result)]
        # peers are talkative, and our own output is the table
        subprocess.run(command, env=env, stdout=sys.stderr, check=True)
        found: dict[str, Any] = json.loads(result.read_text())
    return found


def reached(points: Sequence[dict[str, Any]], goal: float) -> str:
    """When J first was at or below the goal."""
    for point in points:
        if point["J"] is None:
            return "another objective"
        if point["J"] <= goal:
            return f"{point['seconds']:.2f} s, {point['sweeps']} sweeps"
    return f"not within {points[-1]['sweeps']} sweeps"


def table(found: Found) -> list[str]:
    """In Markdown; a line a solver."""
    of_cmfrec = [point["J"] for point in found.get("cmfrec", {"points": []})["points"]]
    sweeps = [point["sweeps"] for point in found.get("cmfrec", {"points": []})["points"]]
    goal = of_cmfrec[sweeps.index(GOAL)] if GOAL in sweeps else None
    until = "" if goal is None else f" until J = {goal:.6g}, cmfrec's after {GOAL} |"
    lines = [
        f"| | set-up, s | a sweep, s | best test RMSE | last J |{until}",
        "|---|---|---|---|---|" + ("---|" if until else ""),
    ]
    for name, result in found.items():
        points = result["points"]
        best = min(points, key=lambda point: point["rmse"])
        J = "" if points[-1]["J"] is None else f"{points[-1]['J']:.6g} after {points[-1]['sweeps']}"
        cells = [
            f"{LABELS[name]} {result['version']}",
            f"{result['set_up']:.2f}",
            f"{result['sweep']:.3f}",
            f"{best['rmse']:.4f} after {best['sweeps']} sweeps, {best['seconds']:.2f} s",
            J,
            *([] if goal is None else [reached(points, goal)]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def draw(picture: Path, found: Found) -> None:
    """Test RMSE over the solver's seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, result in found.items():
        seconds, rmse = ([point[key] for point in result["points"]] for key in ("seconds", "rmse"))
        axes.plot(seconds, rmse, "o-", markersize=4, linewidth=1.5, label=LABELS[name])
    best = next(iter(found.values()))["best_rmse"]
    axes.axhline(best, color="k", linewidth=0.8, linestyle=":", label="the planted truth")
    axes.set_xscale("log")
    axes.set_xlabel("seconds of the solver, without set-up")
    axes.set_ylabel("test RMSE")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=110)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=69_878)
    parser.add_argument("--items", type=int, default=10_677)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lambda", dest="lambda_", type=float, default=12.0, help="of ours and cmfrec's")
    parser.add_argument("--lr", type=float, default=0.02, help="of Adam")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(SOLVERS), help="which, in this order")
    parser.add_argument(
        "--points", action="append", default=[], metavar="NAME=1,2,5-9", help="sweeps to judge after"
    )
    parser.add_argument("--spark-memory", default="8g")
    parser.add_argument("--output", type=Path, help="a JSON file for all points")
    parser.add_argument("--picture", type=Path)
    return parser.parse_args()


def main() -> None:
    """Every solver in turn, then a table."""
    args = parse()
    names, points = args.only.split(","), POINTS | dict(given.split("=", 1) for given in args.points)
    require(names)
    shared = {key: getattr(args, key) for key in Settings.__annotations__ if key != "points"}
    found: Found = {}
    for name in names:
        found[name] = solve(name, Settings(**shared, points=numbers(points[name])))
        if args.output:
            args.output.write_text(json.dumps({"settings": shared, "found": found}, indent=1))
    torch.set_num_threads(args.threads)
    best = next(iter(found.values()))["best_rmse"]
    print(f"{machine()}; {args.threads} threads each")
    print(
        f"{args.ratings:,} made-up ratings, {args.users:,} x {args.items:,}, a tenth of them for testing;"
        f" {args.features} features, lambda {args.lambda_:g}, lr {args.lr:g};"
        f" no test RMSE below {best:.4f} can be expected\n"
    )
    print("\n".join(table(found)))
    if args.picture:
        draw(args.picture, found)


if __name__ == "__main__":
    main()
