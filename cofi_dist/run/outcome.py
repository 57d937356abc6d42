"""Save the outcome of a run: the model, and `result.json`."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import RunError, SaveError
from cofi_dist.factors import Factors
from cofi_dist.model import Model, TrainingDataFacts
from cofi_dist.model.arrays import ModelArrays
from cofi_dist.run.directory import RunDirectory
from cofi_dist.training.metrics import Accuracy
from cofi_dist.training.problem import Problem
from cofi_dist.training.state import State
from cofi_dist.training.trainer import DivergedError


def save_outcome(
    problem: Problem,
    run: RunDirectory,
    model: Model,
    state: State,
    comm: Comm,
    *,
    epoch: int,
    accuracy: Accuracy | None,
    seconds: float,
) -> None:
    """Save the model and the result of a run that has taken all its steps.

    Collective: all ranks call it.

    Args:
        problem: the problem that was trained on.
        run: the run directory.
        model: what `gather_model` returned.
        state: the state after the last step.
        comm: the ranks.
        epoch: the epoch before whose step the factors were as they are now.
        accuracy: their accuracy on the held-out ratings, if it was measured.
        seconds: duration of the training.

    Raises:
        SaveError: a file cannot be written.
    """
    # The factors after the last step belong to no further epoch.
    result: dict[str, Any] = {"epoch": min(epoch, state.epoch), "steps": epoch - 1, "seconds": seconds}
    result["fingerprint"] = problem.fingerprint
    if accuracy is not None:
        result |= accuracy.to_json()
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
        _save_model(run, gather_model(problem, state.factors, comm, str(error)), comm)
    result = {"epoch": error.kept, "seconds": seconds, "diverged": str(error)}
    result["fingerprint"] = problem.fingerprint
    _save_result(run, result, comm)
    return DivergedError(f"{error}; {kept}; try {advice}", error.kept)


def _save_model(run: RunDirectory, model: Model, comm: Comm) -> None:
    def save() -> None:
        with _run_error_as_save_error():
            run.require_run()
            model.save(run.model, replace=True)  # a resumed run may have a model already

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
            " with checkpoint.resume=auto"
        ) from None


def gather_model(problem: Problem, factors: Factors, comm: Comm, diverged: str = "") -> Model:
    """Return the whole model on rank 0, and a model of their own rows on the other ranks.

    Collective: all ranks call it.
    """
    counts = [len(users) for users in problem.ranges]
    W = comm.gather_rows_to_rank_zero(factors.W, counts)
    b = comm.gather_rows_to_rank_zero(factors.b[0], counts)[None]
    user_counts = comm.gather_rows_to_rank_zero(
        torch.from_numpy(problem.user_counts.astype(np.float64)), counts
    )
    source, item_sums = problem.source, problem.item_sums
    (lowest, highest), (users, items) = source.scale, source.ids
    feedback, global_mean = problem.config.data.feedback, item_sums.global_mean
    if feedback == "implicit":  # scores of events have no scale, and nothing was subtracted
        lowest, highest, global_mean = -math.inf, math.inf, 0.0
    c = None if factors.c is None else factors.c.cpu()
    return Model(
        arrays=ModelArrays.of(
            Factors(factors.X.cpu(), W, b, c),
            item_means=problem.item_offsets,
            item_counts=item_sums.count,
            user_counts=user_counts.numpy(),
        ),
        facts=TrainingDataFacts(
            global_mean=global_mean,
            lowest=lowest,
            highest=highest,
            fingerprint=problem.fingerprint,
            columns=source.columns,
            diverged=diverged,
            feedback=feedback,
        ),
        users=users,
        items=items,
        config=problem.config.with_absolute_paths(),
    )
