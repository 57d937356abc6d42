"""Describe a run to its callbacks and trackers."""

from collections.abc import Sequence

from cofi_dist.config.diff import flat
from cofi_dist.distributed.comm import Comm
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.stop import StopRequest
from cofi_dist.trackers import Callback, Outcome, RunFacts
from cofi_dist.trackers.group import CallbackGroup
from cofi_dist.training.metrics import Accuracy
from cofi_dist.training.problem import Problem
from cofi_dist.version import __version__


def callback_group(
    problem: Problem,
    comm: Comm,
    run: RunDirectory | None,
    stop: StopRequest,
    callbacks: Sequence[Callback],
    *,
    epoch: int,
) -> CallbackGroup:
    """Return what reports a run to its callbacks and trackers.

    Args:
        problem: the problem that is trained on.
        comm: the ranks.
        run: the run directory; None if nothing is kept.
        stop: is asked to stop by callbacks.
        callbacks: written in Python.
        epoch: the epoch from which the run resumes.
    """
    source = problem.source

    def request_stop(reason: str) -> None:
        stop.reason = stop.reason or reason

    facts = RunFacts(
        run_dir=None if run is None else run.path,
        epoch=epoch,
        config=flat(problem.config.model_dump(exclude_none=True)),
        facts={
            "version": __version__,
            "ranks": comm.world_size,
            "device": problem.device.type,
            "num_users": source.num_users,
            "num_items": source.num_items,
            "num_ratings": problem.num_ratings,
            "fingerprint": problem.fingerprint,
        },
        request_stop=request_stop,
    )
    return CallbackGroup(facts, callbacks, problem.config.train.loggers)


def finished(run: RunDirectory | None, epoch: int, accuracy: Accuracy | None, message: str) -> Outcome:
    """Return the outcome of a run whose model, if there is a run directory, is saved."""
    return Outcome(
        status="finished",
        message=message,
        epoch=epoch,
        validation={} if accuracy is None else accuracy.figures,
        model=None if run is None else run.model,
    )
