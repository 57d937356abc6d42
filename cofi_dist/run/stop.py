"""Collect requests to stop: by a signal, a file, a deadline, or the end of the launcher.

During training a request is only recorded. It is looked at between two steps, when all ranks agree to save
and to stop together. Before the first step there is nothing to save, so a signal interrupts at once.
"""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from types import FrameType

from cofi_dist.errors import SaveError, StoppedError
from cofi_dist.files.atomic import remove_file
from cofi_dist.run_layout import STOP
from cofi_dist.streams import exit_now
from cofi_dist.system.launcher import Launcher
from cofi_dist.system.variables import read_variable

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LAUNCHER_GONE = "the end of its launcher"
SECONDS_UNTIL_AGAIN = 0.05
SECONDS_BETWEEN_LOOKS = 1.0  # at the stop file and the launcher


class Interrupted(BaseException):
    """End the command because of a signal; what it has begun is cleared away on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Phase(Enum):
    """Describe what the process is doing, which decides what a signal does."""

    OTHER = "a signal raises Interrupted"
    STARTING = "a signal raises StoppedError, as nothing is lost: the command can simply be repeated"
    TRAINING = "a signal is noted, and looked for between two steps"
    FINISHING = "a signal is noted, and what has begun is finished before the process ends"


class StopRequest:
    """Record whether this process has been asked to stop.

    Attributes:
        reason: what asked for it; empty while nothing has.
        raised: the exception that a signal has raised, if any.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.raised: StoppedError | Interrupted | None = None
        self._phase, self._interrupted = Phase.OTHER, False
        self._file: Path | None = None
        self._deadline = math.inf
        self._looked = 0.0
        self._launcher = Launcher.find()

    def listen(self) -> None:
        """Handle the signals, except those that the parent process has switched off."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        sys.unraisablehook = self._on_unraisable

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Be in a phase during the context.

        After training, the phase is FINISHING until the process ends or trains again, so that no signal
        interrupts what remains to be done.
        """
        before, self._phase = self._phase, phase
        try:
            yield
        finally:
            if self._phase is phase:
                self._phase = Phase.FINISHING if phase is Phase.TRAINING else before

    def on_lock_lost(self, error: SaveError) -> None:
        """End the process at once, because the run directory belongs to another run now."""
        exit_now(error)

    def watch(self, run_dir: Path, deadline: float) -> None:
        """Look for the stop file of a run, and at the clock.

        Args:
            run_dir: the directory in which the file would be.
            deadline: the latest time to stop at, in seconds since the epoch; infinite for none.
        """
        self._file, self._deadline = run_dir / STOP, deadline

    def is_requested(self) -> bool:
        """Return whether to stop before the next step.

        The stop file and the launcher are looked at once per second.
        """
        if not self.reason and time.time() > self._deadline:
            self.reason = "train.deadline"
        now = time.monotonic()
        if not self.reason and now - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = now
            # a signal that comes while it looks has given a reason, which must stay
            self.reason = self._look() or self.reason
        return bool(self.reason)

    def _look(self) -> str:
        """Return why to stop, as seen outside of the process; empty if there is no reason."""
        # Whoever starts a rank also ends it; a rank whose launcher is gone would go on alone.
        if self._launcher is not None and not self._launcher.is_alive():
            return LAUNCHER_GONE
        with suppress(OSError):
            if self._file is not None and self._file.exists():
                return f"the file {self._file}"
        return ""

    def end_launcher(self) -> None:
        """Keep torchrun from restarting the ranks, because it mistakes a rank that stops for one that failed.

        If torchrun itself passed the signal on, it is ending already.
        """
        first = read_variable("LOCAL_RANK") == "0"
        if first and self._launcher is not None and self.reason not in signal.Signals.__members__:
            self._launcher.end()

    def _on_unraisable(self, lost: "sys.UnraisableHookArgs") -> None:
        """Send a signal again whose exception was raised where it cannot propagate, as in a destructor."""
        if not isinstance(lost.exc_value, StoppedError | Interrupted):
            sys.__unraisablehook__(lost)
            return
        number, self.reason, self._interrupted = signal.Signals[self.reason], "", False
        again = threading.Timer(SECONDS_UNTIL_AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        is_repeated, self.reason = bool(self.reason), signal.Signals(number).name
        if number == signal.SIGINT and self._interrupted:
            os._exit(128 + number)
        self._interrupted |= number == signal.SIGINT
        if self._phase in (Phase.TRAINING, Phase.FINISHING) or is_repeated:
            return  # noted; the clearing away after a first signal must not be interrupted
        self.raised = Interrupted(number)
        if self._phase is Phase.STARTING:
            self.raised = StoppedError(
                f"stopped by {self.reason} before the first step; start it again to begin"
            )
        raise self.raised


def clear_stop_file(run_dir: Path) -> None:
    """Remove the stop file of an earlier run, unless this is a restart of the run that it is to stop.

    Raises:
        RunError: the file cannot be removed.
    """
    if read_variable("TORCHELASTIC_RESTART_COUNT") in ("", "0") or Launcher.find() is None:
        remove_file(run_dir / STOP)
