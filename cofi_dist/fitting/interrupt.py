"""Stop a training that was started from Python: by Ctrl-C, the stop file or the deadline."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cofi_dist.errors import SaveError
from cofi_dist.run.stop import Phase, StopRequest

INTERRUPT = "an interrupt"


class FitStop(StopRequest):
    """Record whether a fit is to stop after its current step.

    Ctrl-C before the first step, and a second Ctrl-C, raise KeyboardInterrupt. A thread that is not the main
    one cannot be interrupted, and a handler of SIGINT that is not Python's own stays.
    """

    def __init__(self) -> None:
        super().__init__()
        self._handler_before: Any = None
        self._has_stepped = self._is_interrupted = False
        self._lost: SaveError | None = None

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Be in a phase during the context; Ctrl-C is handled from the beginning of the training on."""
        is_main = threading.current_thread() is threading.main_thread()
        if phase is Phase.TRAINING and is_main:
            handler = signal.getsignal(signal.SIGINT)
            if handler is signal.default_int_handler:
                self._handler_before = handler
                signal.signal(signal.SIGINT, self._on_interrupt)
        with super().phase(phase):
            yield

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Restore the handler of Ctrl-C at the end of the context."""
        try:
            yield
        finally:
            if self._handler_before is not None:
                signal.signal(signal.SIGINT, self._handler_before)
                self._handler_before = None

    def is_requested(self) -> bool:
        """Return whether to stop before the next step.

        Raises:
            SaveError: the run directory belongs to another run now.
        """
        if self._lost is not None:
            raise self._lost
        self._has_stepped = True
        return super().is_requested()

    def on_lock_lost(self, error: SaveError) -> None:
        """Learn, from another thread, that the run directory belongs to another run now."""
        self._lost = error

    def _on_interrupt(self, *_: "int | FrameType | None") -> None:
        if self._is_interrupted or not self._has_stepped:
            raise KeyboardInterrupt
        self._is_interrupted, self.reason = True, self.reason or INTERRUPT
