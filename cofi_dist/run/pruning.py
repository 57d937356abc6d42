"""End a run early whose validation figures do not promise enough; a search says which."""

from collections.abc import Callable
from typing import TypeAlias

from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CofiError
from cofi_dist.training.callbacks import ProgressListener, StepCallback
from cofi_dist.training.metrics import EpochMetrics
from cofi_dist.training.state import State

# Is given an epoch and its figure, and says why the run is to end now; an empty text lets it go on.
Judge: TypeAlias = Callable[[int, float], str]


class PrunedError(CofiError):
    """Report that a run is not worth going on with; all ranks raise it at once."""


class Pruning:
    """Have a run judged after each validation: a listener and a callback, which pass everything on.

    Rank 0 alone judges, and tells the others, so that all of them stop before the same step.

    Args:
        judge: is called on rank 0.
        last_epoch: the last of the run, after which nothing could be saved by ending it.
        comm: the ranks.
        listener: receives all reports.
        callback: is called after every step that is not the last of a pruned run.
    """

    def __init__(
        self,
        judge: Judge,
        last_epoch: int,
        comm: Comm,
        listener: ProgressListener,
        callback: StepCallback,
    ) -> None:
        self._judge, self._last_epoch, self._comm = judge, last_epoch, comm
        self._listener, self._callback = listener, callback
        self._measured: tuple[int, float] | None = None

    def info(self, text: str) -> None:
        self._listener.info(text)

    def on_start(self, cost: float, epoch: int) -> None:
        self._listener.on_start(cost, epoch)

    def on_step(self, epoch: int) -> None:
        self._listener.on_step(epoch)

    def on_metrics(self, metrics: EpochMetrics) -> None:
        """Remember the figure, which is the same on all ranks."""
        self._listener.on_metrics(metrics)
        accuracy = metrics.accuracy
        if accuracy is not None and accuracy.is_finite and metrics.epoch < self._last_epoch:
            self._measured = metrics.epoch, accuracy.deciding

    def after_step(self, state: State) -> None:
        """Have the last figure judged, if it is new.

        Collective: all ranks call it after each step.

        Raises:
            PrunedError: the run is to end.
        """
        measured, self._measured = self._measured, None
        if measured is not None and (why := self._comm.from_rank_zero(lambda: self._judge(*measured))):
            raise PrunedError(f"after epoch {state.epoch}: {why}", shared=True)
        self._callback.after_step(state)

    def finish(self, state: State) -> None:
        self._callback.finish(state)
