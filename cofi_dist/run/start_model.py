"""Start a run from the factors of a model, whose users and items may be others: rows are found by their ids.

A user or item of the model without training ratings holds the remains of its random start, so it counts as
one that the model does not have. So does one whose features are all 0, as an update may leave them: no step
moves features of 0 that meet none but features of 0.
"""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.checkpoint.manifest import FILE, list_checkpoints
from cofi_dist.config import Config
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.data.shard import UserShard
from cofi_dist.data.sources.base import Source
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CofiError, ConfigError, RunError, from_words, to_words
from cofi_dist.factors import Factors
from cofi_dist.model import Model
from cofi_dist.model.row_parts import Rows, blocks_of
from cofi_dist.model.store import USERS
from cofi_dist.run_layout import CHECKPOINTS, MODEL, is_run
from cofi_dist.training.new_rows import SolvedRows, solve_new_rows
from cofi_dist.training.problem import Problem
from cofi_dist.words import counted


class StartModel:
    """Hold the model that a run starts from.

    Args:
        model: the model.
        path: where it was read; None if it was given as an object.
    """

    def __init__(self, model: Model, path: Path | None = None) -> None:
        self.model, self._path = model, path
        self._known_users = _is_known(model.arrays.user_counts, model.arrays.W)
        self._known_items = _is_known(model.arrays.item_counts, model.arrays.X)

    @property
    def name(self) -> str:
        """Return the key or the argument that names the model, for messages."""
        return "start" if self._path is None else f"train.start: {self._path}"

    def require_fits(self, config: Config) -> None:
        """Raise unless a run with this config can take over the factors.

        Raises:
            ConfigError: names what the run would have to drop or to guess.
        """
        model, name = self.model, self.name
        has, needs = model.arrays.X.shape[1], config.model.num_features
        if has != needs:
            raise ConfigError(
                f"{name}: has {counted(has, 'feature')}, but model.num_features is {needs}; set it to {has}"
            )
        if model.facts.feedback != config.data.feedback:
            raise ConfigError(
                f"{name}: was trained with data.feedback: {model.facts.feedback}, but the run's is"
                f" {config.data.feedback}; start from a model of the same feedback"
            )
        if model.arrays.c is not None and not config.model.item_bias:
            raise ConfigError(
                f"{name}: has item biases, which model.item_bias: false would drop; set model.item_bias: true"
            )
        if model.config.model.user_bias and not config.model.user_bias:
            raise ConfigError(
                f"{name}: has user biases, which model.user_bias: false would drop; set model.user_bias: true"
            )

    def require_overlap(self, source: Source) -> None:
        """Raise unless the model knows at least one of the users and items.

        Raises:
            ConfigError: it knows none of them.
        """
        users, items = source.ids
        known = (self.model.users.find(users.raw), self.model.items.find(items.raw))
        if not any((rows >= 0).any() for rows in known):
            raise ConfigError(
                f"{self.name}: knows none of the users and items of these ratings, by their ids; is it the"
                " model of other data?"
            )

    def find_users(self, raw: pl.Series) -> NDArray[np.int64]:
        """Return the row in the model of each user id; -1 for a user that it does not know."""
        return _find(self.model.users, raw, self._known_users)

    def find_items(self, raw: pl.Series) -> NDArray[np.int64]:
        """Return the row in the model of each item id; -1 for an item that it does not know."""
        return _find(self.model.items, raw, self._known_items)

    def start(self, problem: Problem, shard: UserShard, factors: Factors, comm: Comm) -> list[str]:
        """Overwrite drawn factors by those of the model, and solve for the rows that it does not know.

        Collective: all ranks call it.

        Args:
            problem: the problem to train on.
            shard: the ratings of this rank.
            factors: this rank's factors, as they were drawn.
            comm: the ranks.

        Returns:
            Lines for the log.
        """
        model, (users, items) = self.model, problem.source.ids
        user_rows = self.find_users(users.raw[problem.users.start : problem.users.stop])
        item_rows = self.find_items(items.raw)
        arrays, own_item_rows = model.arrays, problem.own_items(item_rows)
        _copy_rows(arrays.W, factors.W, user_rows)
        _copy_rows(arrays.b[0], factors.b[0], user_rows)
        _copy_rows(arrays.X, factors.X, own_item_rows)
        if factors.c is not None and arrays.c is not None:
            _copy_rows(arrays.c[0], factors.c[0], own_item_rows)
        why_at_random = "have no ratings to be solved for from"
        if problem.item_shards is None:
            solved = solve_new_rows(problem, shard, factors, user_rows >= 0, item_rows >= 0)
        else:
            why_at_random = "are not solved for with train.items: sharded"
            solved = SolvedRows(np.zeros(len(user_rows), bool), np.zeros(len(item_rows), bool))
        found_users, solved_users = _sum_over_ranks(
            [int((user_rows >= 0).sum()), int(solved.users.sum())], comm
        )
        found_items, solved_items = int((item_rows >= 0).sum()), int(solved.items.sum())
        notes = [
            f"started from {self._path or 'the given model'}:"
            f" users {_counts(found_users, len(users), int(self._known_users.sum()))};"
            f" items {_counts(found_items, len(items), int(self._known_items.sum()))}"
        ]
        if model.facts.diverged:
            notes.append(
                f"the run of that model diverged ({model.facts.diverged}); this is its last good one"
            )
        at_random = (len(users) - found_users - solved_users, len(items) - found_items - solved_items)
        if any(at_random):
            notes.append(
                f"{counted(at_random[0], 'new user')} and {counted(at_random[1], 'new item')}"
                f" {why_at_random}, and start at random"
            )
        return notes


def read_start_model(path: Path) -> StartModel:
    """Read the model in a directory, or in a run directory, to start from.

    Raises:
        CofiError: there is no model, or it is damaged; names `train.start`.
    """
    try:
        return StartModel(Model.load(path), path)
    except CofiError as error:
        raise _explained(path, error) from None


def read_on_all_ranks(path: Path, comm: Comm) -> StartModel:
    """Read a model to start from on every rank.

    Collective: all ranks call it.

    Raises:
        CofiError: a rank cannot read it, or has read another one than rank 0; the same error on all ranks.
    """
    found: StartModel | None = None
    failure: dict[str, str] | None = None
    try:
        found = read_start_model(path)
    except CofiError as error:
        failure = to_words(error)
    failures = [from_words(words) for words in comm.all_gather_objects(failure) if words is not None]
    if failures or found is None:
        failures[0].shared = True
        raise failures[0]
    require_same_model(found, comm)
    return found


def require_same_model(found: StartModel, comm: Comm) -> None:
    """Raise unless every rank starts from the same model; another job may have just replaced it.

    Collective: all ranks call it.
    """
    model = found.model
    comm.require_same(
        [digests((model.users, model.items)), model.arrays.digest()], f"what is read of {found.name}"
    )


def _explained(path: Path, error: CofiError) -> CofiError:
    """Return the error to raise if there is no usable model at a path."""
    if (path / FILE).exists() and not (path / USERS).exists():  # prepared ratings have a manifest too
        why = f"is a checkpoint, not a model; checkpoint.resume={path} starts a run from it"
    elif is_run(path) and not (path / MODEL).exists():
        if list_checkpoints(path / CHECKPOINTS):
            why = f"is a run without a model; checkpoint.resume={path} starts from its last checkpoint"
        else:
            why = "is a run without a model; start from one that has finished"
    else:
        return RunError(f"train.start: {error}")
    return RunError(f"train.start: {path}: {why}")


def _is_known(counts: NDArray[np.float64], features: Rows) -> NDArray[np.bool_]:
    is_known = counts > 0
    for some, rows in blocks_of(features):
        is_known[some] &= rows.any(axis=1)
    return is_known


def _find(ids: IdMap, raw: pl.Series, is_known: NDArray[np.bool_]) -> NDArray[np.int64]:
    rows = ids.find(raw)
    return np.where((rows >= 0) & is_known[rows], rows, -1)


def _copy_rows(source: Rows, target: Tensor, rows: NDArray[np.int64]) -> None:
    """Copy the row of the source to each row of the target that has one."""
    found = np.flatnonzero(rows >= 0)
    copied = torch.from_numpy(source[rows[found]])
    target[torch.from_numpy(found).to(target.device)] = copied.to(target)


def _sum_over_ranks(numbers: list[int], comm: Comm) -> list[int]:
    return [sum(column) for column in zip(*comm.all_gather_objects(numbers), strict=True)]


def _counts(found: int, wanted: int, known: int) -> str:
    return f"{found:,} found, {wanted - found:,} new, {known - found:,} gone"
