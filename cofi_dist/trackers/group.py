"""Report a run to all its callbacks and trackers."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cofi_dist.trackers.callback import Callback, Outcome, Report, RunFacts
from cofi_dist.trackers.process import TrackerProcess
from cofi_dist.trackers.recipient import (
    BackgroundDelivery,
    CallbackRecipient,
    Delivery,
    DirectDelivery,
    Recipient,
)

TRACKER = "train.loggers: "  # before the name of one, in messages
END_SECONDS = 30.0  # a tracker of a short run may still be starting
STOP_SECONDS = 10.0  # whoever stops a run may kill it after 30
SECONDS_UNTIL_TOLD = 2.0
UPLOAD_BYTES_PER_SECOND = 10e6  # of a model, for which the end of a run waits longer


class CallbackGroup:
    """Report a run to callbacks and trackers; no method raises because of one of them, or waits for one.

    `end` waits, but not for long. What there is to tell the user is in `lines`.

    Args:
        run: describes the run.
        callbacks: written in Python, by the user.
        trackers: names, as in `train.loggers`.
    """

    def __init__(
        self, run: RunFacts, callbacks: Sequence[Callback] = (), trackers: Sequence[str] = ()
    ) -> None:
        self._run, self._callbacks, self._trackers = run, callbacks, trackers
        self._lines: deque[str] = deque()
        self._deliveries: list[Delivery] = []
        self._is_begun = False

    def start(self) -> None:
        """Report that the first step is about to be taken."""
        self._is_begun = True
        for callback in self._callbacks:
            kind = DirectDelivery if callback.synchronous else BackgroundDelivery
            self._deliveries.append(
                kind(f"callback {type(callback).__name__}", CallbackRecipient(callback), self._lines)
            )
        for name in self._trackers:
            assert self._run.run_dir is not None
            process: Recipient = TrackerProcess(name, self._run.run_dir, self._lines)
            self._deliveries.append(BackgroundDelivery(f"{TRACKER}{name}", process, self._lines))
        self.report(self._run)

    def report(self, report: Report) -> None:
        """Report what happens during training."""
        for delivery in self._deliveries:
            delivery.add(report)

    def end(self, outcome: Outcome, tell: Callable[[str], None]) -> None:
        """Report the end, once, and wait until all have taken their reports, or for too long.

        Args:
            outcome: how the run ended.
            tell: called with a line if that takes long.
        """
        if not self._is_begun:
            return
        self._is_begun = False
        self.report(outcome)
        seconds = END_SECONDS if outcome.status == "finished" else STOP_SECONDS
        seconds += _bytes_in(outcome.model) / UPLOAD_BYTES_PER_SECOND
        start = time.monotonic()
        late = self._late(start + min(seconds, SECONDS_UNTIL_TOLD))
        if late:
            names = " and ".join(name.removeprefix(TRACKER) for name in late)
            tell(f"waiting for {names}, {seconds:.0f} s at most")
        self._late(start + seconds)
        for delivery in self._deliveries:
            delivery.finish()

    def _late(self, until: float) -> list[str]:
        """Return the names of those that have not taken all by this time."""
        return [each.name for each in self._deliveries if not each.wait(max(0.0, until - time.monotonic()))]

    def lines(self) -> Iterator[str]:
        """Yield what there is to tell the user, once."""
        while self._lines:
            yield self._lines.popleft()


def _bytes_in(directory: Path | None) -> int:
    if directory is None:
        return 0
    try:
        return sum(file.stat().st_size for file in directory.iterdir())
    except OSError:
        return 0
