"""Save checkpoints between two training steps when they are due, and stop when requested."""

import platform
from collections.abc import Callable
from typing import Any

import torch

from cofi_dist.checkpoint.writer import CheckpointWriter, SaveReport
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import SaveError, StoppedError
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.stop import LAUNCHER_GONE, StopRequest
from cofi_dist.system.hardware import hardware_and_versions
from cofi_dist.training.problem import Problem
from cofi_dist.training.state import State
from cofi_dist.version import __version__
from cofi_dist.words import counted


class UnsavedStopError(SaveError):
    """Report that the run stopped because it was asked to, and that its state could not be saved."""


class CheckpointCallback:
    """Save the state of a run every so many epochs, and before the run stops.

    Args:
        writer: writes the checkpoints.
        stop: whether this rank has been asked to stop.
        comm: the ranks.
        every: epochs from one checkpoint to the next; None to save only when asked to stop.
        max_failures: consecutive failed saves after which the run ends.
        saved_epoch: epoch of the run's own checkpoint that it resumed from; 0 if there is none.
        on_save: called after each save.
    """

    def __init__(
        self,
        writer: CheckpointWriter,
        stop: StopRequest,
        comm: Comm,
        *,
        every: int | None,
        max_failures: int,
        saved_epoch: int,
        on_save: Callable[[SaveReport], None],
    ) -> None:
        self._writer, self._stop, self._comm = writer, stop, comm
        self._every, self._max_failures, self._on_save = every, max_failures, on_save
        self._saved_epoch, self._failures = saved_epoch, 0

    def after_step(self, state: State) -> None:
        """Start or finish a save if it is time to, and stop if any rank has been asked to.

        Collective: all ranks call it after each step.

        Raises:
            StoppedError: a rank was asked to stop, and the state is saved.
            SaveError: too many consecutive saves have failed, or that one did.
        """
        stop, running = self._comm.max_over_ranks(
            int(self._stop.is_requested()), int(self._writer.is_running)
        )
        if self._writer.is_open and not running:
            self.finish_save()
        if stop:
            self._save_and_stop(state)
        if self._every is not None and state.epoch % self._every == 0:
            self._start_save(state)

    def finish(self, state: State) -> None:
        """Save the state after the last step, if checkpoints are wanted.

        Collective: all ranks call it.
        """
        self.finish_save()
        if self._every is not None:
            self._save_now(state)

    def finish_save(self) -> None:
        """Wait for the save that is open, if any.

        Collective: all ranks call it.

        Raises:
            SaveError: too many consecutive saves have failed.
        """
        if not self._writer.is_open:
            return
        report = self._writer.finish_save()
        self._on_save(report)
        if not report.error:
            self._saved_epoch, self._failures = report.epoch, 0
            return
        self._failures += 1
        if self._failures >= self._max_failures:
            raise SaveError(
                f"checkpoint.max_failures: {counted(self._failures, 'save')} in a row failed, the last at"
                f" epoch {report.epoch}: {report.error}",
                shared=True,
            )

    def close(self) -> None:
        """Wait until nothing is being written any more; each rank for itself."""
        self._writer.wait()

    def _save_and_stop(self, state: State) -> None:
        reason = next(text for text in self._comm.all_gather_objects(self._stop.reason) if text)
        self.finish_save()
        self._save_now(state)
        if not self._saved_epoch:
            raise UnsavedStopError(
                f"stopped after epoch {state.epoch} by {reason}, and nothing could be saved: what was learnt"
                " is lost",
                shared=True,
            )
        is_saved = state.epoch == self._saved_epoch
        what = (
            "the state is saved" if is_saved else f"the last checkpoint is that of epoch {self._saved_epoch}"
        )
        raise StoppedError(
            f"stopped after epoch {state.epoch} by {reason}; {what}; go on with checkpoint.resume=auto",
            shared=True,
            restart=reason == LAUNCHER_GONE,
        )

    def _save_now(self, state: State) -> None:
        if state.epoch != self._saved_epoch:
            self._start_save(state)
            self.finish_save()

    def _start_save(self, state: State) -> None:
        self.finish_save()
        (is_broken,) = self._comm.max_over_ranks(int(not state.is_finite))
        if not is_broken:  # or else the trainer reports it when it next computes the cost
            self._writer.start_save(state)


class StopCallback:
    """Stop between two steps when asked to, without saving: the callback of a run that is not kept.

    Args:
        stop: whether this rank has been asked to stop.
        comm: the ranks.
    """

    def __init__(self, stop: StopRequest, comm: Comm) -> None:
        self._stop, self._comm = stop, comm

    def after_step(self, state: State) -> None:
        """Stop if any rank has been asked to.

        Collective: all ranks call it after each step.

        Raises:
            StoppedError: a rank was asked to stop.
        """
        (stop,) = self._comm.max_over_ranks(int(self._stop.is_requested()))
        if stop:
            reason = next(text for text in self._comm.all_gather_objects(self._stop.reason) if text)
            raise StoppedError(f"stopped after epoch {state.epoch} by {reason}", shared=True)

    def finish(self, state: State) -> None:
        pass

    def finish_save(self) -> None:
        pass

    def close(self) -> None:
        pass


def checkpoint_callback(
    problem: Problem,
    run: RunDirectory,
    comm: Comm,
    stop: StopRequest,
    *,
    saved_epoch: int,
    on_save: Callable[[SaveReport], None],
) -> CheckpointCallback:
    """Return the callback that saves checkpoints as the config says; see `CheckpointCallback`."""
    settings = problem.config.checkpoint
    writer = CheckpointWriter(
        run.checkpoints,
        manifest_fields(problem, comm),
        problem.users,
        problem.own_item_ranges,
        comm,
        settings.keep,
        # After a power cut, the metrics must reach as far as the checkpoint.
        synced_files=[run.metrics],
    )
    return CheckpointCallback(
        writer,
        stop,
        comm,
        every=settings.every,
        max_failures=settings.max_failures,
        saved_epoch=saved_epoch,
        on_save=on_save,
    )


def manifest_fields(problem: Problem, comm: Comm) -> dict[str, Any]:
    """Return the fields of a checkpoint's manifest that describe the run."""
    return {
        "num_users": problem.source.num_users,
        "num_items": problem.source.num_items,
        "num_features": problem.config.model.num_features,
        "dtype": str(problem.dtype).removeprefix("torch."),
        "world_size": comm.world_size,
        "fingerprint": problem.fingerprint,
        "ids": problem.ids,
        "config": problem.config.model_dump(exclude_none=True),
        "versions": {
            "cofi_dist": __version__,
            "python": platform.python_version(),
            "threads": str(torch.get_num_threads()),
            **hardware_and_versions(problem.device),
        },
    }
