"""Waiting for other ranks, with a limit that holds whatever the libraries do meanwhile."""

import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.05
CALL_SECONDS = 2.0  # for a host that may not answer


class Waiting:
    """Up to a deadline.

    Attributes:
        why: what is being waited for, or what was found instead.
    """

    def __init__(self, seconds: float) -> None:
        self.why = "nothing was heard"
        self._seconds, self._end = seconds, time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, in a thread that is left behind at the deadline.

        Signals are handled meanwhile. A library's call can't be broken off: the process must be on its way
        out where this fails.

        Raises:
            TimeoutError: it has not returned by then; says why.
        """
        results: list[T] = []
        errors: list[Exception] = []

        def run() -> None:
            try:
                results.append(work())
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run, name="waiting", daemon=True)
        thread.start()
        thread.join(max(self.left, 0.0))
        for error in errors:
            raise error
        for result in results:
            return result
        raise TimeoutError(f"after {self._seconds:g} s {self.why}")

    def until(self, is_so: Callable[[], bool]) -> None:
        """Look again and again.

        Raises:
            TimeoutError: it is not so by the deadline.
        """
        while not is_so():
            if self.left < LOOK_SECONDS:
                raise TimeoutError(f"after {self._seconds:g} s {self.why}")
            time.sleep(LOOK_SECONDS)

    def reach(self, host: str, port: int) -> None:
        """Return once somebody listens there. torch's own store would complain at length until then.

        Raises:
            TimeoutError: nobody does by the deadline.
        """
        self.until(lambda: self._answers(host, port))
        self.why = (
            f"{host}:{port} is open, but is not where these ranks meet; another program may have the port"
        )

    def _answers(self, host: str, port: int) -> bool:
        try:
            socket.create_connection((host, port), CALL_SECONDS).close()
        except OSError as error:
            self.why = f"nobody answers at {host}:{port} ({error.strerror or error})"
            return False
        return True
