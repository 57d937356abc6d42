"""Hand over the reports of a run to one recipient, on a thread of its own, so that it cannot harm the run."""

import queue
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from cofi_dist.trackers.callback import Callback, Outcome, Report, call, method_name
from cofi_dist.words import counted

MOST_PENDING = 20_000  # reports of a recipient that has fallen behind; some MB
MOST_AT_ONCE = 500
LONGEST_REASON = 300
SECONDS_TO_CLOSE = 1.0


class Recipient(Protocol):
    """Receive reports on a thread of its own."""

    def receive(self, reports: Sequence[Report]) -> None:
        """Take some reports, the oldest first; whatever it raises ends the delivery."""
        ...

    def interrupt(self) -> None:
        """Make `receive` give up what it may be waiting for, if that is possible; called from any thread."""
        ...

    def close(self) -> None:
        """Release what is held, after the last call of `receive`."""
        ...


class RecipientError(Exception):
    """Report which method of a recipient failed, and why, in one line."""


class CallbackRecipient:
    """Call the methods of a callback."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback

    def receive(self, reports: Sequence[Report]) -> None:
        for report in reports:
            try:
                call(self._callback, report)
            except Exception as error:
                raise RecipientError(f"{method_name(report)}: {described(error)}") from error

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


class Delivery(Protocol):
    """Deliver the reports of a run to one recipient."""

    name: str

    def add(self, report: Report) -> None:
        """Deliver a report, now or later."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait at most so long until the last report, an `Outcome`, is taken; return whether it is."""
        ...

    def finish(self) -> None:
        """Give up what is not delivered."""
        ...


class DirectDelivery:
    """Deliver each report at once; a recipient that raises gets no more.

    Args:
        name: of the recipient, for messages.
        recipient: gets the reports.
        lines: what is to be told to the user is appended to it.
    """

    def __init__(self, name: str, recipient: Recipient, lines: deque[str]) -> None:
        self.name, self._recipient, self._lines = name, recipient, lines
        self._is_on = True

    def add(self, report: Report) -> None:
        if not self._is_on:
            return
        try:
            self._recipient.receive([report])
        except Exception as error:
            self._is_on = False
            self._lines.append(failure(self.name, error))

    def wait(self, seconds: float) -> bool:
        return True

    def finish(self) -> None:
        self._recipient.close()


class BackgroundDelivery:
    """Deliver reports on a thread of its own; a recipient that raises gets no more.

    Args:
        name: of the recipient, for messages.
        recipient: gets the reports.
        lines: what is to be told to the user is appended to it.
    """

    def __init__(self, name: str, recipient: Recipient, lines: deque[str]) -> None:
        self.name, self._recipient, self._lines = name, recipient, lines
        self._pending: queue.Queue[Report] = queue.Queue(MOST_PENDING)
        self._added = self._taken = 0
        self._is_on = True
        self._thread = threading.Thread(target=self._deliver, name=f"callback {name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # there may be no more threads
            self._switch_off(failure(name, error))

    def add(self, report: Report) -> None:
        if not self._is_on:
            return
        self._added += 1
        if isinstance(report, Outcome) and self._pending.full():
            self._pending.get_nowait()  # the end must get through, or the thread would wait for it
        with suppress(queue.Full):  # it is counted as added, and never as taken
            self._pending.put_nowait(report)

    def wait(self, seconds: float) -> bool:
        if self._thread.is_alive():
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def finish(self) -> None:
        if self._is_on and self._taken < self._added:
            lost = counted(self._added - self._taken, "report")
            self._switch_off(f"{self.name}: {lost} did not get through: it is too slow, or hangs")
            self._recipient.interrupt()
            if self._thread.is_alive():
                self._thread.join(SECONDS_TO_CLOSE)

    def _deliver(self) -> None:
        try:
            self._deliver_all()
        except BaseException as error:  # a thread that ends by SystemExit would say nothing
            if self._is_on:
                self._switch_off(failure(self.name, error))
        finally:
            self._recipient.close()

    def _deliver_all(self) -> None:
        while self._is_on:
            reports = [self._pending.get()]
            while len(reports) < MOST_AT_ONCE and not self._pending.empty():
                reports.append(self._pending.get_nowait())
            self._recipient.receive(reports)
            self._taken += len(reports)
            if isinstance(reports[-1], Outcome):
                return

    def _switch_off(self, line: str) -> None:
        self._is_on = False
        self._lines.append(line)


def failure(name: str, error: BaseException) -> str:
    """Return the line that says that a recipient failed."""
    text = str(error) if isinstance(error, RecipientError) else described(error)
    return f"{name}: {text}; it is switched off, and the run goes on"


def described(error: BaseException) -> str:
    """Return what an error says, in one short line."""
    text = " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
