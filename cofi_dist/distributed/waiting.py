"""Wait for other ranks up to a deadline, even if a library's call hangs meanwhile."""

import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.05
CALL_SECONDS = 2.0  # for one call to a host that may not answer


class BoundedWait:
    """Wait for several things in turn, up to one deadline.

    Args:
        seconds: from now to the deadline.

    Attributes:
        reason: what is being waited for, or what was found instead; ends the message of a TimeoutError.
    """

    def __init__(self, seconds: float) -> None:
        self.reason = "nothing was heard"
        self._seconds, self._deadline = seconds, time.monotonic() + seconds

    @property
    def seconds_left(self) -> float:
        """Return the time to the deadline; negative after it."""
        return self._deadline - time.monotonic()

    def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, called in a thread that is left behind at the deadline.

        Signals are handled meanwhile. A library's call cannot be interrupted, so the process has to exit
        soon after this fails.

        Raises:
            TimeoutError: the call has not returned by the deadline; the message gives the reason.
        """
        results: list[T] = []
        errors: list[Exception] = []

        def attempt() -> None:
            try:
                results.append(work())
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=attempt, name="waiting", daemon=True)
        thread.start()
        thread.join(max(self.seconds_left, 0.0))
        for error in errors:
            raise error
        for result in results:
            return result
        raise self._timeout()

    def until(self, is_done: Callable[[], bool]) -> None:
        """Poll until `is_done` returns True.

        Raises:
            TimeoutError: it still returns False at the deadline.
        """
        while not is_done():
            if self.seconds_left < POLL_SECONDS:
                raise self._timeout()
            time.sleep(POLL_SECONDS)

    def until_port_answers(self, host: str, port: int) -> None:
        """Return once a process listens at host:port; torch's store would log at length until then.

        Raises:
            TimeoutError: no process listens there by the deadline.
        """
        self.until(lambda: self._answers(host, port))
        self.reason = (
            f"{host}:{port} is open, but is not where these ranks meet; another program may have the port"
        )

    def _answers(self, host: str, port: int) -> bool:
        try:
            socket.create_connection((host, port), CALL_SECONDS).close()
        except OSError as error:
            self.reason = f"nobody answers at {host}:{port} ({error.strerror or error})"
            return False
        return True

    def _timeout(self) -> TimeoutError:
        return TimeoutError(f"after {self._seconds:g} s {self.reason}")
