"""Asked to stop: by a signal, a file, or a deadline. What asks sets a flag, and nothing else.

The flag is looked at between two steps, where all ranks agree, save and leave together. Before the
first step there is nothing to save, so there the signal itself breaks off what is going on.
"""

import math
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from cofi_dist.errors import StoppedError
from cofi_dist.files.atomic import remove_file
from cofi_dist.run_layout import STOP
from cofi_dist.system.launcher import Launcher
from cofi_dist.system.variables import read

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
LAUNCHER_GONE = "the end of its launcher"
SECONDS_UNTIL_AGAIN = 0.05
SECONDS_BETWEEN_LOOKS = 1.0  # at the file and the launcher


class Interrupted(BaseException):
    """A signal came: what was begun is cleared away on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Whether this process has been asked to stop.

    Attributes:
        reason: what asked; empty while nothing has.
        stepping: whether the flag is looked at, or the work about to be finished; else a signal raises
            at once: StoppedError where the work is `resumable`, Interrupted elsewhere.
        raised: what a signal has raised; None while none has.
    """

    def __init__(self) -> None:
        self.reason = ""
        self.raised: StoppedError | Interrupted | None = None
        self.stepping = self.resumable = self._interrupted = False
        self._file: Path | None = None
        self._end = math.inf
        self._looked = 0.0
        self._launcher = Launcher.find()

    def listen(self) -> None:
        """Handle the signals, but for those that whoever started the process has switched off."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        sys.unraisablehook = self._lost

    def watch(self, run_dir: Path, end: float) -> None:
        """Look for the stop file of a run, and at the clock.

        Args:
            run_dir: where the file would be.
            end: when to leave at the latest, in seconds of the clock.
        """
        self._file, self._end = run_dir / STOP, end

    def is_requested(self) -> bool:
        """Whether to stop before the next step; looks at the file and the launcher once a second."""
        if not self.reason and time.time() > self._end:
            self.reason = "train.deadline"
        now = time.monotonic()
        if not self.reason and now - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = now
            if seen := self._seen():
                self.reason = seen
        return bool(self.reason)

    def _seen(self) -> str:
        """What there is to see that asks to stop; empty if nothing."""
        # whoever starts a rank also ends it; a rank whose launcher is gone would go on alone
        if self._launcher is not None and not self._launcher.lives():
            return LAUNCHER_GONE
        with suppress(OSError):
            if self._file is not None and self._file.exists():
                return f"the file {self._file}"
        return ""

    def end_launcher(self) -> None:
        """Keep torchrun from starting the ranks again: it takes a rank that leaves for one that failed.

        Not where it is what passed the signal on, and is ending by itself.
        """
        first = read("LOCAL_RANK") == "0"
        if first and self._launcher is not None and self.reason not in signal.Signals.__members__:
            self._launcher.end()

    def _lost(self, lost: "sys.UnraisableHookArgs") -> None:
        """Send a signal again whose exception came up in code that passes none on, such as a destructor."""
        if not isinstance(lost.exc_value, StoppedError | Interrupted):
            sys.__unraisablehook__(lost)
            return
        number, self.reason, self._interrupted = signal.Signals[self.reason], "", False
        again = threading.Timer(SECONDS_UNTIL_AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        again, self.reason = bool(self.reason), signal.Signals(number).name
        if number == signal.SIGINT and self._interrupted:
            os._exit(128 + number)
        self._interrupted |= number == signal.SIGINT
        if self.stepping or again:
            return  # the flag is up; what is being cleared away shall not be broken off
        self.raised = Interrupted(number)
        if self.resumable:
            said = f"stopped by {self.reason} before the first step; start it again to begin"
            self.raised = StoppedError(said)
        raise self.raised


def clear_stop_file(run_dir: Path) -> None:
    """Remove the file that stopped an earlier run; not in a restart of the very run that it is to stop.

    Raises:
        RunError: it can't be removed.
    """
    if read("TORCHELASTIC_RESTART_COUNT") in ("", "0") or Launcher.find() is None:
        remove_file(run_dir / STOP)
