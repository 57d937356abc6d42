"""Show a run to whoever watches it: lines on stdout and stderr, and a bar if stderr is a terminal.

A stream that fails does not end the run: nothing more is written to it.
"""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cofi_dist.streams import is_drawn_on, tolerate_write_errors
from cofi_dist.training.metrics import Criterion

SECONDS_BETWEEN_REDRAWS = 0.2


class Screen(Protocol):
    """Show the lines, the notes and the progress of a run. No method raises because it cannot show them."""

    def open(self, epochs: int, criterion: Criterion | None, on_failure: Callable[[str], None]) -> None:
        """Get ready for a run.

        Args:
            epochs: number of its epochs.
            criterion: names the figures that are measured during training; None for none.
            on_failure: called with a line that says why something could not be shown.
        """
        ...

    def line(self, text: str) -> None:
        """Show one of the notebook's lines."""
        ...

    def note(self, text: str) -> None:
        """Show a message for the user."""
        ...

    def begin(self) -> None:
        """Learn that the first step is about to be taken."""
        ...

    def step(self, epoch: int, figures: str, speed: float) -> None:
        """Learn that the step of an epoch is taken.

        Args:
            epoch: the number of steps so far.
            figures: the latest cost, and the latest figure on held-out ratings.
            speed: epochs per second.
        """
        ...

    def close(self) -> None:
        """End the display, also after an error."""
        ...


class TerminalBar:
    """Draw a live bar on stderr if that is a terminal, and nothing elsewhere.

    Args:
        epochs: number of epochs of the run.
        criterion: names the figures that are measured during training; None for none.
        on_failure: called with a line that says why the bar could not be drawn.
    """

    def __init__(self, epochs: int, criterion: Criterion | None, on_failure: Callable[[str], None]) -> None:
        # The bar is shorter if a figure stands beside it, so that all fits into 80 columns.
        self._bar = _bar(epochs, 20 if criterion is None else max(1, 12 - len(criterion.metric)))
        self._task = self._bar.add_task("", total=epochs, visible=False, cost="", speed="")
        self._on_failure = on_failure
        self._drawn = time.perf_counter()
        with self._drawing():
            self._bar.start()

    @property
    def is_drawn(self) -> bool:
        """Tell whether there is a terminal to draw on."""
        return not self._bar.disable

    def begin(self) -> None:
        """Show the bar."""
        with self._drawing():
            self._bar.reset(self._task, visible=True)

    def step(self, epoch: int, figures: str, speed: float) -> None:
        """Draw the bar anew, unless that was done a moment ago."""
        now = time.perf_counter()
        if now - self._drawn < SECONDS_BETWEEN_REDRAWS:
            return
        self._drawn = now
        with self._drawing():
            self._bar.update(self._task, completed=epoch, cost=figures, speed=f"{speed:.3g}", refresh=True)

    def print_above(self, text: str) -> None:
        """Print a line above the bar, which would otherwise overwrite it."""
        with self._drawing():
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        if self.is_drawn:  # rich before 14.3 prints an empty line when it stops a bar that it never drew
            with self._drawing():
                self._bar.stop()

    def _drawing(self) -> AbstractContextManager[None]:
        return nullcontext() if self._bar.disable else tolerate_write_errors(sys.stderr, self._on_failure)


class StreamScreen:
    """Print the notebook's lines on stdout, notes on stderr, and a bar if that is a terminal.

    Args:
        quiet: whether to print no lines and no notes, as for a point of a grid.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def open(self, epochs: int, criterion: Criterion | None, on_failure: Callable[[str], None]) -> None:
        self._on_failure = on_failure
        self._bar = TerminalBar(epochs, criterion, on_failure)

    def line(self, text: str) -> None:
        self._write(text, sys.stdout, self._report)

    def note(self, text: str) -> None:
        self._write(text, sys.stderr, self._on_failure)

    def begin(self) -> None:
        self._bar.begin()

    def step(self, epoch: int, figures: str, speed: float) -> None:
        self._bar.step(epoch, figures, speed)

    def close(self) -> None:
        self._bar.close()

    def _report(self, failure: str) -> None:
        """Report on stderr that stdout has failed."""
        self._on_failure(failure)
        self.note(failure)

    def _write(self, text: str, stream: TextIO | None, on_failure: Callable[[str], None]) -> None:
        if self._quiet or stream is None:
            return
        if self._bar.is_drawn and stream.isatty():
            self._bar.print_above(text)
        else:
            with tolerate_write_errors(stream, on_failure):
                stream.write(text + "\n")  # in one piece: other ranks write there too


def _bar(epochs: int, width: int) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn(f"epoch {{task.completed:>{len(str(epochs))}.0f}}/{epochs}"),
        BarColumn(bar_width=width),
        TextColumn("cost {task.fields[cost]}"),
        TextColumn("{task.fields[speed]} epochs/s"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not is_drawn_on(sys.stderr),  # if FORCE_COLOR is set, rich would also draw into a job's log
    )
