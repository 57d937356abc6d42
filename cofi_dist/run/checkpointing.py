"""What happens between two steps: checkpoints where they are due, and leaving when asked to."""

from collections.abc import Callable

from cofi_dist.checkpoint.writer import CheckpointWriter, SaveReport
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import SaveError, StoppedError
from cofi_dist.run.stop import LAUNCHER_GONE, StopRequest
from cofi_dist.training.state import State
from cofi_dist.words import counted


class CheckpointCallback:
    """Saves a run's state every so many epochs, and before it leaves.

    Args:
        saver: writes the checkpoints.
        stop: whether this rank was asked to stop.
        comm: the ranks.
        every: epochs from one checkpoint to the next; None saves only when asked to stop.
        max_failures: saves in a row that may fail.
        saved_at: the epoch of the run's own checkpoint that it went on from; 0 for none.
        tell: is told of every save that is over.
    """

    def __init__(
        self,
        saver: CheckpointWriter,
        stop: StopRequest,
        comm: Comm,
        *,
        every: int | None,
        max_failures: int,
        saved_at: int,
        tell: Callable[[SaveReport], None],
    ) -> None:
        self._saver, self._stop, self._comm = saver, stop, comm
        self._every, self._max_failures, self._tell = every, max_failures, tell
        self._last, self._failures = saved_at, 0

    def after_step(self, state: State) -> None:
        """Go on with the saving. Collective: all ranks call it after every step.

        Raises:
            StoppedError: a rank was asked to stop; the state is saved.
            SaveError: too many saves have failed.
        """
        asked, running = self._comm.max_over_ranks(
            int(self._stop.is_requested()), int(self._saver.is_running)
        )
        if self._saver.is_open and not running:
            self._complete()
        if asked:
            self._leave(state)
        if self._every is not None and state.epoch % self._every == 0:
            self._begin(state)

    def finish(self, state: State) -> None:
        """All steps are taken: save the state where checkpoints are wanted. Collective."""
        self._complete()
        if self._every is not None:
            self._save_now(state)

    def end_save(self) -> None:
        """Wait for the save that is open, if one is. Collective."""
        self._complete()

    def _leave(self, state: State) -> None:
        reason = next(text for text in self._comm.all_gather_objects(self._stop.reason) if text)
        self._complete()
        self._save_now(state)
        saved = state.epoch == self._last
        if not self._last:
            raise SaveError(
                f"stopped after epoch {state.epoch} by {reason}, and nothing could be saved: what was learnt"
                " is lost",
                shared=True,
            )
        what = "the state is saved" if saved else f"the last checkpoint is that of epoch {self._last}"
        raise StoppedError(
            f"stopped after epoch {state.epoch} by {reason}; {what}; go on with checkpoint.resume=auto",
            shared=True,
            restart=reason == LAUNCHER_GONE,
        )

    def _save_now(self, state: State) -> None:
        if state.epoch != self._last:
            self._begin(state)
            self._complete()

    def _begin(self, state: State) -> None:
        self._complete()
        (broken,) = self._comm.max_over_ranks(int(not state.is_finite))
        if not broken:  # else the trainer will say so when it prints next
            self._saver.start_save(state)

    def _complete(self) -> None:
        """Wait for the save that is open, if one is."""
        if not self._saver.is_open:
            return
        saved = self._saver.finish_save()
        self._tell(saved)
        if not saved.error:
            self._last, self._failures = saved.epoch, 0
            return
        self._failures += 1
        if self._failures >= self._max_failures:
            raise SaveError(
                f"checkpoint.max_failures: {counted(self._failures, 'save')} in a row failed, the last at"
                f" epoch {saved.epoch}: {saved.error}",
                shared=True,
            )
