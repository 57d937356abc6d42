"""Save the outcome of a run: the model, and `result.json`."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import RunError, SaveError
from cofi_dist.factors import Factors
from cofi_dist.model import Model, TrainingDataFacts
from cofi_dist.model.arrays import ModelArrays
from cofi_dist.model.parts import OwnRows
from cofi_dist.model.shared_save import save_shared
from cofi_dist.model.store import About, fits_one_file
from cofi_dist.run.directory import RunDirectory
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.metrics import Accuracy
from cofi_dist.training.problem import Problem
from cofi_dist.training.state import State
from cofi_dist.training.trainer import DivergedError


@dataclass(frozen=True)
class SharedModel:
    """Hold this rank's rows of a model that no rank has all of.

    Attributes:
        own: rows of users and of items that no other rank has.
        about: what all ranks know of the model.
    """

    own: list[OwnRows]
    about: About


def save_outcome(
    problem: Problem,
    run: RunDirectory,
    model: Model | SharedModel,
    state: State,
    comm: Comm,
    *,
    epoch: int,
    accuracy: Accuracy | None,
    seconds: float,
    pruned: str = "",
) -> None:
    """Save the model and the result of a run that has taken all its steps, or was pruned.

    Collective: all ranks call it.

    Args:
        problem: the problem that was trained on.
        run: the run directory.
        model: what `learnt_model` returned.
        state: the state after the last step.
        comm: the ranks.
        epoch: the epoch before whose step the factors were as they are now.
        accuracy: their accuracy on the held-out ratings, if it was measured.
        seconds: duration of the training.
        pruned: why the run ended early, if it was pruned.

    Raises:
        SaveError: a file cannot be written.
    """
    # The factors after the last step belong to no further epoch.
    result: dict[str, Any] = {"epoch": min(epoch, state.epoch), "steps": epoch - 1, "seconds": seconds}
    result["fingerprint"] = problem.fingerprint
    if accuracy is not None:
        result |= accuracy.to_json()
    if pruned:
        result["pruned"] = pruned
    _save_model(run, model, comm)
    _save_result(run, result, comm)


def save_divergence(
    problem: Problem,
    run: RunDirectory,
    state: State,
    comm: Comm,
    error: DivergedError,
    *,
    seconds: float,
    keeps_run: bool = True,
) -> DivergedError:
    """Save the model of the last good factors, if there are any; return the error to raise.

    Collective: all ranks call it.

    Args:
        problem: the problem that was trained on.
        run: the run directory.
        state: the state, with the last good factors restored.
        comm: the ranks.
        error: what the trainer raised.
        seconds: duration of the training.
        keeps_run: whether there is a run directory to save in that stays.

    Raises:
        SaveError: a file cannot be written.
    """
    advice = "a lower train.lr" if problem.config.train.optimizer == "adam" else "a higher train.lambda_"
    if not keeps_run:
        return DivergedError(f"{error}; try {advice}", error.kept)
    kept = "there is no good epoch whose model could be kept"
    if error.kept is not None:
        kept = f"the model of epoch {error.kept} is kept in {run.model}"
        _save_model(run, learnt_model(problem, state.factors, comm, str(error)), comm)
    result = {"epoch": error.kept, "seconds": seconds, "diverged": str(error)}
    result["fingerprint"] = problem.fingerprint
    _save_result(run, result, comm)
    return DivergedError(f"{error}; {kept}; try {advice}", error.kept)


def _save_model(run: RunDirectory, model: Model | SharedModel, comm: Comm) -> None:
    with _run_error_as_save_error():  # a resumed run may have a model already
        save_model(model, run.model, comm, replace=True, before=run.require_run)


def save_model(
    model: Model | SharedModel,
    directory: Path,
    comm: Comm,
    *,
    replace: bool = False,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Save what `learnt_model` returned.

    Collective: all ranks call it.

    Args:
        model: of this rank.
        directory: the model's own.
        comm: the ranks.
        replace: an existing directory is replaced.
        before: rank 0 calls it before anything is written.

    Raises:
        RunError: it cannot be written; the same on all ranks.
    """
    if isinstance(model, SharedModel):
        save_shared(directory, model.own, model.about, comm, replace=replace, before=before)
        return

    def save() -> None:
        before()
        model.save(directory, replace=replace)

    comm.from_rank_zero(save)


def _save_result(run: RunDirectory, result: dict[str, Any], comm: Comm) -> None:
    def save() -> None:
        with _run_error_as_save_error():
            run.save_result(result)

    comm.from_rank_zero(save)


@contextmanager
def _run_error_as_save_error() -> Iterator[None]:
    """Raise each RunError as a SaveError: at the end of a run it is not a mistake of the user."""
    try:
        yield
    except RunError as error:
        raise SaveError(
            f"{error}; what was saved before is as it was: go on from the last checkpoint, if there is one,"
            " with checkpoint.resume=auto",
            shared=error.shared,
        ) from None


def learnt_model(problem: Problem, factors: Factors, comm: Comm, diverged: str = "") -> Model | SharedModel:
    """Return the model of what was learnt: whole on rank 0, or, if it is not to be gathered, in parts.

    Collective: all ranks call it. If the model is gathered, the other ranks get a model of their own rows.
    """
    about = _about(problem, diverged)
    num_rows = problem.source.num_users + problem.source.num_items
    row_bytes = factors.X.shape[1] * factors.X.element_size()
    is_gathered = problem.item_shards is None and fits_one_file(num_rows, row_bytes)
    if comm.world_size > 1 and not is_gathered:
        return SharedModel([*_own_users(problem, factors), *_own_items(problem, factors)], about)
    counts = [len(users) for users in problem.ranges]
    W = comm.gather_rows_to_rank_zero(factors.W, counts)
    b = comm.gather_rows_to_rank_zero(factors.b[0], counts)[None]
    user_counts = comm.gather_rows_to_rank_zero(
        torch.from_numpy(problem.user_counts.astype(np.float64)), counts
    )
    c = None if factors.c is None else factors.c.cpu()
    arrays = ModelArrays.of(
        Factors(factors.X.cpu(), W, b, c),
        item_means=problem.item_offsets,
        item_counts=problem.item_sums.count,
        user_counts=user_counts.numpy(),
    )
    return Model(arrays=arrays, **about._asdict())


def _own_users(problem: Problem, factors: Factors) -> Iterator[OwnRows]:
    """Yield the rows of this rank's users, if it has any."""
    if len(problem.users):
        counts = problem.user_counts.astype(np.float64)
        tensors = {"W": factors.W.cpu().numpy(), "b": factors.b[0].cpu().numpy(), "user_counts": counts}
        yield OwnRows("users", [problem.users], tensors)


def _own_items(problem: Problem, factors: Factors) -> Iterator[OwnRows]:
    """Yield the rows of the items that this rank owns, or its share of them if all ranks have all."""
    X, c = factors.X, None if factors.c is None else factors.c[0]
    if problem.item_shards is None:
        num_items, world_size = problem.source.num_items, len(problem.ranges)
        start, stop = (num_items * rank // world_size for rank in (problem.rank, problem.rank + 1))
        ranges, X, c = [UserRange(start, stop)], X[start:stop], None if c is None else c[start:stop]
    else:
        ranges = problem.item_shards.owned()
    ranges = [items for items in ranges if len(items)]
    if ranges:
        rows = np.concatenate([np.arange(items.start, items.stop) for items in ranges])
        tensors = {"X": X.cpu().numpy(), **({} if c is None else {"c": c.cpu().numpy()})}
        tensors |= {"item_means": problem.item_offsets[rows], "item_counts": problem.item_sums.count[rows]}
        yield OwnRows("items", ranges, tensors)


def _about(problem: Problem, diverged: str) -> About:
    source, feedback = problem.source, problem.config.data.feedback
    (lowest, highest), (users, items) = source.scale, source.ids
    global_mean = problem.item_sums.global_mean
    if feedback == "implicit":  # scores of events have no scale, and nothing was subtracted
        lowest, highest, global_mean = -math.inf, math.inf, 0.0
    facts = TrainingDataFacts(
        global_mean=global_mean,
        lowest=lowest,
        highest=highest,
        fingerprint=problem.fingerprint,
        columns=source.columns,
        diverged=diverged,
        feedback=feedback,
    )
    return About(facts, users, items, problem.config.with_absolute_paths())
