"""Show on stderr how far a long piece of work has come."""

import sys
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

from cofi_dist.distributed.comm import Comm
from cofi_dist.streams import is_drawn_on, log_stderr, tolerate_write_errors

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

FIRST_BAR, BETWEEN_BARS, FIRST_LINE = 0.5, 0.2, 10.0  # seconds; a line comes after twice as many as the last


class Progress:
    """Show a bar on a terminal, and elsewhere a line now and then; for short work, neither.

    Args:
        what: the work, such as `evaluating`.
        noun: what it goes through, in the plural.
        hidden: whether to show nothing, as another rank shows it.
    """

    def __init__(self, what: str, noun: str, *, hidden: bool = False) -> None:
        self._what, self._noun = what, noun
        self._done, self._started = 0, time.perf_counter()
        self._on_terminal = is_drawn_on(sys.stderr)
        self._next = float("inf") if hidden else FIRST_BAR if self._on_terminal else FIRST_LINE
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with _drawing():
                self._bar.stop()

    def add(self, count: int, total: int) -> None:
        """Count so many more as done, of so many in all."""
        self._done += count
        seconds = time.perf_counter() - self._started
        if seconds < self._next:
            return
        if self._on_terminal:
            self._next = seconds + BETWEEN_BARS
            with _drawing():
                self._bar = self._bar or _bar(self._what, total, self._noun)
                self._bar.update(self._bar.task_ids[0], completed=self._done, refresh=True)
        else:
            self._next = 2 * seconds
            left = seconds * (total - self._done) / max(self._done, 1)
            log_stderr(
                f"{self._what}: {self._done:,} of {total:,} {self._noun} in {seconds:.0f} s,"
                f" about {left:.0f} s to go"
            )


def _bar(what: str, total: int, noun: str) -> "Bar":
    from rich.console import Console  # slow to import, and most work is short
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn(what),
        BarColumn(bar_width=20),
        TextColumn(f"{{task.completed:,.0f}}/{total:,} {noun}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    bar.add_task("", total=total)
    bar.start()
    return bar


def _drawing() -> AbstractContextManager[None]:
    return tolerate_write_errors(sys.stderr)


def announce_compilation(comm: Comm) -> None:
    """Say so before the first loop is compiled, which takes seconds, once per installation."""
    from cofi_dist.kernels.first_compilation import COMPILING, FirstCompilation

    if comm.rank == 0:
        FirstCompilation.on_start(lambda: log_stderr(COMPILING))
