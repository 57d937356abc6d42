"""NDCG@10 on ml-latest-small with every rating an event: ours, implicit's and cmfrec's ALS, EASE, popularity.

    COFI_DIST_DATA=FOLDER python -m benchmarks.clicks [--trials 15] [--folds 2] [--split 7] [--others 1,2,3]

The test part of a split are the lines of ratings.csv, in file order, where
`numpy.random.default_rng(SPLIT).random(100836) < 0.2`. Settings are chosen on --split alone: a random
tenth of its training part is held out for validation, once for each of --folds. All solvers get the same
number of trials, drawn at random from the ranges in benchmarks.clicks_solvers. The settings with the
highest mean NDCG of the folds are kept. Each solver then learns from the whole training part of --split,
and, with the same settings, from those of --others. A rating in the test part of one split is in the
training part of another. So the choice has seen a little of the test parts of --others, and nothing of
that of --split.

NDCG@10 is that of `cofi-dist evaluate`: all items are ranked but those in the user's training part, and users
with a held-out item are averaged. Items without training events stay in; no solver can find them.
An interval is the 95 % of 1,000 means over as many users, drawn with replacement. By how much ours is better
is the mean of the users' differences.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.clicks_data import Split, read, test_split, validation_split
from benchmarks.clicks_solvers import SOLVERS, Solver
from benchmarks.machine import machine

FIGURES = 1_000  # means that an interval rests on


def trials_of(
    name: str, solver: Solver, folds: list[Split], number: int
) -> list[tuple[float, int, dict[str, Any]]]:
    """Mean NDCG of the folds, sweeps and settings of each trial, best first."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(number if solver.draw else 1):
        settings = solver.draw(rng) if solver.draw else {}
        curves = [solver.curve(fold, settings) for fold in folds]
        shared = set.intersection(*map(set, curves))
        means = {sweeps: float(np.mean([curve[sweeps] for curve in curves])) for sweeps in shared}
        best = max(means, key=means.__getitem__)
        found.append((means[best], best, settings))
        print(f"{name}: {means[best]:.4f} after {best} sweeps: {settings}", file=sys.stderr, flush=True)
    return sorted(found, key=lambda trial: -trial[0])


def interval(of_users: NDArray[np.float64], digits: int) -> str:
    """95 % of the means over users drawn with replacement."""
    rng = np.random.default_rng(0)
    means = [rng.choice(of_users, len(of_users)).mean() for _ in range(FIGURES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{low:.{digits}f} to {high:.{digits}f}"


def line(
    name: str,
    trials: list[tuple[float, int, dict[str, Any]]],
    splits: list[Split],
    of_ours: list[NDArray[np.float64]],
) -> str:
    """Of the table: learn from the training part of each split by the best of the trials.

    `of_ours` gets the users' NDCG on each split if the solver is ours, and is compared with otherwise.
    """
    solver, (validated, sweeps, settings) = SOLVERS[name], trials[0]
    found = [split.ndcg(solver.scores(split, settings, sweeps)) for split in splits]
    cells = [f"{ndcg_U.mean():.4f}" for ndcg_U in found]
    if name == "ours":
        of_ours.extend(found)
        less = ""
    elif of_ours:
        by = of_ours[0] - found[0]
        less = f"{by.mean():+.4f} ({interval(by, 4)})"
    else:
        less = "ours was left out"
    cells += [interval(found[0], 3), less]
    chosen = ", ".join(f"{key} {value:g}" for key, value in settings.items())
    after = f"; {sweeps} sweeps" if sweeps else ""
    return f"| {solver.label} | {validated:.4f} | {' | '.join(cells)} | {chosen}{after} |"


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--split", type=int, default=7)
    parser.add_argument("--others", default="1,2,3", help="seeds of the other splits")
    parser.add_argument("--only", default=",".join(SOLVERS), help="which, in this order")
    parser.add_argument("--output", type=Path, help="a JSON file for all trials")
    return parser.parse_args()


def main() -> None:
    """Choose on validation parts, then learn from the training parts; a line a solver."""
    args = parse()
    file = Path(os.environ.get("COFI_DIST_DATA", "/nowhere")) / "ml-latest-small" / "ratings.csv"
    if not file.exists():
        raise SystemExit("benchmarks.clicks: COFI_DIST_DATA must name a folder that holds ml-latest-small")
    names, seeds = args.only.split(","), [int(seed) for seed in args.others.split(",") if seed]
    if unknown := set(names) - set(SOLVERS):
        raise SystemExit(f"benchmarks.clicks: --only: {', '.join(unknown)} is none of {', '.join(SOLVERS)}")
    print(f"{machine()}; {args.trials} trials each, {args.folds} folds of split {args.split}\n")
    heads = ["validation", *(f"split {seed}" for seed in (args.split, *seeds))]
    heads += [f"95 % on {args.split}", f"ours better by, on {args.split}", "settings"]
    print(f"| | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    with tempfile.TemporaryDirectory() as folder:
        events = read(file)
        splits = [test_split(events, seed, Path(folder)) for seed in (args.split, *seeds)]
        folds = [validation_split(splits[0], fold, Path(folder)) for fold in range(args.folds)]
        all_trials, of_ours = {}, list[NDArray[np.float64]]()
        for name in names:
            all_trials[name] = trials_of(name, SOLVERS[name], folds, args.trials)
            print(line(name, all_trials[name], splits, of_ours), flush=True)
            if args.output:
                args.output.write_text(json.dumps(all_trials, indent=1))


if __name__ == "__main__":
    main()
