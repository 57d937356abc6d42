"""Show a fit: a bar in a notebook or on a terminal, the command's lines, or nothing; notes go to the log."""

import html
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from cofi_dist.run.screen import SECONDS_BETWEEN_REDRAWS, Screen, StreamScreen, TerminalBar
from cofi_dist.training.metrics import Criterion

LOGGER = logging.getLogger("cofi_dist")
MOST_NOTES = 3  # below a bar


class Bar(Protocol):
    """Show how far a training has come."""

    def begin(self) -> None:
        """Learn that the first step is about to be taken."""
        ...

    def step(self, epoch: int, figures: str, speed: float) -> None:
        """Learn that the step of an epoch is taken."""
        ...

    def close(self) -> None:
        """End the display, also after an error."""
        ...


BarMaker: TypeAlias = Callable[[int, Criterion | None, Callable[[str], None]], Bar]


def choose_screen(progress: bool | None) -> Screen:
    """Return what shows a fit.

    Args:
        progress: as for `fit`.
    """
    if progress:
        # notes on stderr would stand in red boxes between the lines of a cell
        return LoggingScreen(prints_lines=True) if is_notebook() else StreamScreen()
    if progress is None:
        return LoggingScreen(NotebookBar if is_notebook() else TerminalBar)
    return LoggingScreen()


def is_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook, without importing what notebooks need."""
    module = sys.modules.get("IPython.core.interactiveshell")
    shell: Any = getattr(module, "InteractiveShell", None)
    return shell is not None and shell.initialized() and shell.instance().has_trait("kernel")


class LoggingScreen:
    """Show a bar, and pass the notes to the logger `cofi_dist`.

    Args:
        make_bar: makes the bar of a run; None for no bar.
        prints_lines: whether to print the original notebook's lines, or to drop them.
    """

    def __init__(self, make_bar: BarMaker | None = None, *, prints_lines: bool = False) -> None:
        self._make_bar = make_bar
        self._prints_lines = prints_lines
        self._bar: Bar | None = None

    def open(self, epochs: int, criterion: Criterion | None, on_failure: Callable[[str], None]) -> None:
        if self._make_bar is not None:
            self._bar = self._make_bar(epochs, criterion, on_failure)

    def line(self, text: str) -> None:
        if self._prints_lines:
            print(text)

    def note(self, text: str) -> None:
        LOGGER.info(text)
        if isinstance(self._bar, NotebookBar):
            self._bar.note(text)

    def begin(self) -> None:
        if self._bar is not None:
            self._bar.begin()

    def step(self, epoch: int, figures: str, speed: float) -> None:
        if self._bar is not None:
            self._bar.step(epoch, figures, speed)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class NotebookBar:
    """Show an HTML bar in the output of a cell, and beside it the epoch, the cost and the speed.

    Below it stand the notes since the first step, such as why the training ended before its last epoch.

    Args:
        epochs: number of epochs of the run.
        criterion: not used; what is shown beside the bar says what it is.
        on_failure: called with a line that says why the bar cannot be shown.
    """

    def __init__(self, epochs: int, criterion: Criterion | None, on_failure: Callable[[str], None]) -> None:
        self._epochs, self._on_failure = epochs, on_failure
        self._handle: Any = None
        self._shown = (0, "", 0.0)
        self._notes: list[str] = []
        self._drawn = 0.0

    def begin(self) -> None:
        """Show the bar for the first time."""
        self._draw()

    def note(self, text: str) -> None:
        """Show a note below the bar; before the first step, it is only logged."""
        if self._handle is not None:
            self._notes = [*self._notes, text][-MOST_NOTES:]
            self._draw()

    def step(self, epoch: int, figures: str, speed: float) -> None:
        """Draw the bar anew, unless that was done a moment ago."""
        self._shown = epoch, figures, speed
        if time.perf_counter() - self._drawn >= SECONDS_BETWEEN_REDRAWS:
            self._draw()

    def close(self) -> None:
        """Leave the last state as it is."""
        if self._handle is not None:
            self._draw()

    def _draw(self) -> None:
        import IPython.display  # is there already, as this is a notebook

        self._drawn = time.perf_counter()
        epoch, figures, speed = self._shown
        text = f"epoch {epoch:,}/{self._epochs:,}"
        if epoch:
            text += f", cost {figures}, {speed:.3g} epochs/s"
        bar = f'<progress value="{epoch}" max="{self._epochs}" style="width: 20em"></progress>'
        lines = [text, *self._notes]
        shown = "<br>".join(map(html.escape, lines))
        page = f'<div style="font-family: monospace">{bar} {shown}</div>'
        bundle = {"text/html": page, "text/plain": "\n".join(lines)}
        try:
            if self._handle is None:
                show: Any = IPython.display.display
                self._handle = show(bundle, raw=True, display_id=True)
            else:
                self._handle.update(bundle, raw=True)
        except OSError as error:  # the kernel has lost its notebook, which is no reason to stop
            self._on_failure(f"the bar cannot be shown: {error}")
