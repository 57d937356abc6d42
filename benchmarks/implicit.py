"""Ten million made-up events: the cost of implicit feedback by ours, by implicit's and by cmfrec's ALS.

    python -m benchmarks.implicit [--features 64,128] [--only implicit,als,adam,cmfrec,exact] [--threads 2]
        [--points adam=10,20 ...] [--output points.json] [--picture clicks_cost.png]

All minimise the same J, that of Hu, Koren and Volinsky: 1/2 sum c (s - 1)^2 over the events, with
c = 1 + alpha x strength, plus 1/2 sum s^2 over all other pairs, plus lambda/2 (|W|^2 + |X|^2). One loop of
benchmarks.implicit_cost computes J for all, in float64, while the clock stands still. First, it is shown that
this is everybody's:

- implicit tells its own loss. It is 2 J divided by the sum of all weights, those of unknown pairs too. Its
  confidences are the weights, so it is given c.
- cmfrec tells no loss. It solves the users last, so J must have no gradient there. J exceeds the least J for
  its items by at most |gradient|^2 / (2 lambda), which is printed.
- Ours tells J.

Each solver runs in a process of its own. Seconds are the solver's: set-up has a column of its own. Memory is
measured in another process of two sweeps, without J: the peak beside what was held before the solver began,
which is the interpreter and the events.

It needs the extra `bench`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.implicit_peers import SOLVERS, Settings
from benchmarks.large import numbers
from benchmarks.machine import machine

LABELS = {
    "als": "cofi_dist, als",
    "exact": "cofi_dist, als, exact",
    "adam": "cofi_dist, sparse Adam",
    "implicit": "implicit, ALS with CG",
    "cmfrec": "cmfrec, ALS with CG",
}
POINTS = {
    "als": "1-12",
    "exact": "1,2",
    "adam": "5,10,20,30,40,60,80,100",
    "implicit": "1-10",
    "cmfrec": "1,2,3,5,10",
}
GOAL = 10  # sweeps of implicit whose cost the others have to reach
Found = dict[str, dict[str, Any]]


def solve(name: str, settings: Settings) -> dict[str, Any]:
    """What one solver did, in a fresh process."""
    threads = str(settings.threads)
    env = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    env["OPENBLAS_NUM_THREADS"] = "1"  # as implicit asks: it has threads of its own
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "settings.json", Path(folder) / "result.json"
        given.write_text(json.dumps(asdict(settings)))
        command = [sys.executable, "-m", "benchmarks.implicit_peers", name, str(given), str(result)]
        # peers are talkative, and our own output is the table
        subprocess.run(command, env=env, stdout=sys.stderr, check=True)
        found: dict[str, Any] = json.loads(result.read_text())
    return found


def goal_of(found: Found) -> float | None:
    """J of implicit after ten sweeps."""
    points = found.get("implicit", {"points": []})["points"]
    return next((point["J"] for point in points if point["sweeps"] == GOAL), None)


def reached(points: Sequence[dict[str, Any]], goal: float) -> tuple[float, int] | None:
    """Seconds and sweeps until J was at or below the goal."""
    return next(((point["seconds"], point["sweeps"]) for point in points if point["J"] <= goal), None)


def table(found: Found) -> list[str]:
    """In Markdown; a line a solver."""
    goal = goal_of(found)
    until = "" if goal is None else f" until J = {goal:.7g}, implicit's after {GOAL} | of implicit's time |"
    lines = [
        f"| | set-up, s | a sweep, s | memory, MB | last J |{until}",
        "|---|---|---|---|---|" + ("---|---|" if until else ""),
    ]
    for name, result in found.items():
        points, last = result["points"], result["points"][-1]
        cells = [
            f"{LABELS[name]} {result['version']}",
            f"{result['set_up']:.2f}",
            f"{last['seconds'] / last['sweeps']:.3f}",
            f"{result['memory'] / 1e6:.0f}",
            f"{last['J']:.7g} after {last['sweeps']}",
        ]
        if goal is not None:
            its, theirs = reached(points, goal), reached(found["implicit"]["points"], goal)
            assert theirs is not None
            cells += (
                ["not reached", ""]
                if its is None
                else [
                    f"{its[0]:.2f} s, {its[1]} sweeps",
                    f"{its[0] / theirs[0]:.2f}",
                ]
            )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def draw(picture: Path, all_found: dict[int, Found]) -> None:
    """J over the solver's seconds; a panel for each number of features."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        1, len(all_found), figsize=(5.5 * len(all_found), 4.5), layout="constrained", squeeze=False
    )
    for axes, (features, found) in zip(panels[0], all_found.items(), strict=True):
        lowest = min(point["J"] for result in found.values() for point in result["points"])
        for name, result in found.items():
            seconds = [point["seconds"] for point in result["points"]]
            excess = [100 * (point["J"] / lowest - 1) for point in result["points"]]
            axes.plot(seconds, excess, "o-", markersize=4, linewidth=1.5, label=LABELS[name])
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylim(0)
        axes.set_xlabel("seconds of the solver, without set-up")
        axes.set_ylabel(f"J above the lowest, {lowest:.4g}, in %")
        axes.set_title(f"{features} features")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture, dpi=110)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--users", type=int, default=69_878)
    parser.add_argument("--items", type=int, default=10_677)
    parser.add_argument("--features", default="64,128")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--lambda", dest="lambda_", type=float, default=10.0)
    parser.add_argument("--lr", type=float, default=0.02, help="of Adam")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="implicit,als,adam,cmfrec", help="which, in this order")
    parser.add_argument(
        "--points", action="append", default=[], metavar="NAME=1,2,5-9", help="sweeps to judge after"
    )
    parser.add_argument("--no-check", action="store_true", help="do not compare the costs first")
    parser.add_argument("--output", type=Path, help="a JSON file for all points")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    if unknown := set(args.only.split(",")) - set(SOLVERS):
        parser.error(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(SOLVERS)}")
    for name in {"implicit", "cmfrec"} & set(args.only.split(",")):
        if find_spec(name) is None:
            parser.error(f"{name} is not installed: pip install -e '.[bench]'; or leave it out of --only")
    return args


def main() -> None:
    """The costs compared, then every solver in turn, then a table, for each number of features."""
    args = parse()
    points = POINTS | dict(given.split("=", 1) for given in args.points)
    torch.set_num_threads(args.threads)
    peers = ", ".join(f"{name} {version(name)}" for name in ("implicit", "cmfrec") if find_spec(name))
    print(f"{machine()}; {peers}; {args.threads} threads each")
    print(
        f"{args.events:,} made-up events, {args.users:,} x {args.items:,}, alpha {args.alpha:g},"
        f" lambda {args.lambda_:g}, lr {args.lr:g}"
    )
    all_found: dict[int, Found] = {}
    shared = {
        key: getattr(args, key) for key in Settings.__annotations__ if key not in ("points", "features")
    }
    for features in numbers(args.features):
        found = all_found[features] = {}
        given = shared | {"features": features}
        print(f"\n{features} features", flush=True)
        if not args.no_check:
            print(f"\n{solve('check', Settings(**given, points=[]))['text']}", flush=True)
        for name in args.only.split(","):
            found[name] = solve(name, Settings(**given, points=numbers(points[name])))
            found[name]["memory"] = solve(name, Settings(**given, points=[]))["memory"]
            if args.output:
                args.output.write_text(json.dumps({"settings": shared, "found": all_found}, indent=1))
        print("\n" + "\n".join(table(found)), flush=True)
    if args.picture:
        draw(args.picture, all_found)


if __name__ == "__main__":
    main()
