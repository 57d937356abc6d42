"""Compile the loops of the usual trainings, and that of lists, before the first of them needs them.

numba compiles one loop at a time in a process, so several processes share the work. Each trains tiny models,
because a real training asks for exactly the loops that a later one will look for.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from cofi_dist.errors import TrainingError
from cofi_dist.fitting.fit import fit
from cofi_dist.kernels.cpu.compiled_cache import LoopCache, count_kept_loops
from cofi_dist.kernels.cpu.jit import require_loops
from cofi_dist.ranking.filters import CompiledFilter
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.system.threads import num_cores

USERS, ITEMS = 16, 12  # at least a user for each block of `invariant`
BLOCKS = 8
SEED_OF_RATINGS = 1

# How the numbers of a training are stored, and what it learns from.
USUAL = tuple(product(("float32", "float64"), ("explicit", "implicit")))

# A training: whether the table has a column of ratings, and the sections of its config.
Kind = dict[str, Any]


def warm_up(num_features: Sequence[int], usual: Sequence[tuple[str, str]] = USUAL) -> int:
    """Compile what is not compiled yet, and return the number of new loops on the disk.

    Args:
        num_features: the models' numbers of features.
        usual: the trainings' `train.dtype` and `data.feedback`.

    Raises:
        ConfigError: an environment variable forbids compiling.
        TrainingError: a loop could not be compiled or kept.
    """
    require_loops()
    before = count_kept_loops()
    shares = [kinds for K in dict.fromkeys(num_features) for kinds in _shares(K, usual)]
    _run_all([*(_command(f"train_kinds({kinds})") for kinds in shares), _command("make_lists()")])
    return count_kept_loops() - before


def train_kinds(kinds: Iterable[Kind]) -> None:
    """Train a tiny model of each kind; a process of `warm_up` calls it, and ends if a loop cannot be kept."""
    rng = np.random.default_rng(SEED_OF_RATINGS)
    rated = rng.random((USERS, ITEMS)) < 0.5
    rated[:, 0] = rated[0] = True  # every user and item has a rating
    users, items = np.nonzero(rated)
    pairs = {"userId": users, "itemId": items}
    stars = rng.integers(1, 6, len(users)).astype(float)
    for kind in kinds:
        columns = {**pairs, "rating": stars} if kind["has_ratings"] else pairs
        fit(pl.DataFrame(columns), device="cpu", progress=False, **kind["sections"])
        _require_kept()


def make_lists() -> None:
    """Make a list as those of many users are made; a process of `warm_up` calls it, as `train_kinds`."""
    number, margin = np.zeros((1, 1)), np.zeros(1)
    CompiledFilter(number, number[0]).candidates(number, margin, 1, UserItemPairs.none())
    _require_kept()


def _require_kept() -> None:
    if not LoopCache.is_kept:  # it has said why
        sys.exit(1)


def _shares(K: int, usual: Sequence[tuple[str, str]]) -> Iterator[list[Kind]]:
    """Yield the kinds for each process: those that have few loops in common with the others'."""
    for dtype, feedback in usual:
        weights: dict[str, Any] = {"alpha": 1.0, "unknown_weight": 0.1} if feedback == "implicit" else {}
        trains: list[dict[str, Any]] = [
            {"optimizer": "adam"},
            {"optimizer": "als"},
            # rows in pieces, as on several ranks or with many ratings
            {"optimizer": "als", "reduction": "invariant", "blocks": BLOCKS},
        ]
        # events without strengths have equal weights
        tables = (True, False) if feedback == "implicit" else (True,)
        yield [
            {
                "has_ratings": has_ratings,
                "sections": {
                    "data": {"feedback": feedback, "columns": {"item": "itemId"}},
                    "train": {"epochs": 1, "dtype": dtype, **weights, **train},
                    "model": {"num_features": K},
                },
            }
            for has_ratings, train in product(tables, trains)
        ]


def _command(call: str) -> list[str]:
    return [sys.executable, "-c", f"from cofi_dist.fitting import warm_up; warm_up.{call}"]


def _run_all(commands: list[list[str]]) -> None:
    """Run the commands, one per core at a time; all end if one of them fails, or a signal comes."""
    # alone, whatever started this process, and without threads that wait for each other
    env = {**os.environ, "WORLD_SIZE": "1", "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:
        running: list[subprocess.Popen[str]] = []
        for command in commands:
            if len(running) == num_cores():
                _require_success(running.pop(0))
            process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)  # noqa: S603, ours
            stack.enter_context(process)
            stack.callback(process.kill)
            running.append(process)
        for process in running:
            _require_success(process)


def _require_success(process: "subprocess.Popen[str]") -> None:
    said = process.communicate()[1].strip()
    if process.returncode:
        last = said.splitlines()[-1] if said else f"exit code {process.returncode}"
        raise TrainingError(f"compiling the loops failed: {last}")
