"""Show on stderr how far a long piece of work has come, and on a terminal that it still goes on."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Self

from cofi_dist.distributed.comm import Comm
from cofi_dist.streams import is_drawn_on, log_stderr, tolerate_write_errors

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn

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
        self._done, self._started = 0.0, time.perf_counter()
        self._on_terminal = is_drawn_on(sys.stderr)
        self._next = float("inf") if hidden else FIRST_BAR if self._on_terminal else FIRST_LINE
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            with _drawing():
                self._bar.stop()

    def add(self, count: float, total: float | None) -> None:
        """Count so many more as done, of so many in all; None if nobody knows of how many."""
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
            log_stderr(f"{self._what}: {self._so_far(seconds, total)}")

    def _so_far(self, seconds: float, total: float | None) -> str:
        if total is None:
            return f"{self._done:,.0f} {self._noun} in {seconds:.0f} s"
        left = seconds * (total - self._done) / max(self._done, 1)
        return f"{self._done:,.0f} of {total:,.0f} {self._noun} in {seconds:.0f} s, about {left:.0f} s to go"


class Steps:
    """Show the steps of a piece of work one after the other, as `Progress` shows one.

    Args:
        noun: what they go through, in the plural.
        hidden: whether to show nothing, as another rank shows it.
    """

    def __init__(self, noun: str, *, hidden: bool = False) -> None:
        self._noun, self._hidden = noun, hidden
        self._what, self._done = "", 0
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_step()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Show that so much of a step is done; a step ends when all of it is, or another one begins."""
        if what != self._what:
            self._end_step()
            self._what, self._done = what, 0
            self._progress = Progress(what, self._noun, hidden=self._hidden)
        if self._progress is not None:
            self._progress.add(done - self._done, total)
            self._done = done
        if done == total:
            self._end_step()

    def _end_step(self) -> None:
        if self._progress is not None:
            self._progress.__exit__()
            self._progress = None


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that work goes on of which nobody knows how much is left, and for how long it has.

    Nothing may be written to stderr in this context, as on a terminal the two would mix.
    """
    if not is_drawn_on(sys.stderr):
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_show_that_it_goes_on, args=(what, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show_that_it_goes_on(what: str, ended: threading.Event) -> None:
    if ended.wait(FIRST_BAR):
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _drawing():
        bar = _empty_bar(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        bar.add_task(what, total=None)
        bar.start()
        while not ended.wait(BETWEEN_BARS):
            bar.refresh()
        bar.stop()


def _bar(what: str, total: float | None, noun: str) -> "Bar":
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    of = "" if total is None else f"/{total:,.0f}"
    room = shutil.get_terminal_size().columns - len(what) - 2 * len(of) - len(noun) - len("    0:00:00 left")
    time_columns = (TimeElapsedColumn(),) if total is None else (TimeRemainingColumn(), TextColumn("left"))
    bar = _empty_bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=max(5, min(20, room))),
        TextColumn(f"{{task.completed:,.0f}}{of} {noun}"),
        *time_columns,
    )
    bar.add_task(what, total=total)
    bar.start()
    return bar


def _empty_bar(*columns: "ProgressColumn") -> "Bar":
    from rich.console import Console  # slow to import, and most work is short
    from rich.progress import Progress

    return Progress(
        *columns,
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def _drawing() -> AbstractContextManager[None]:
    return tolerate_write_errors(sys.stderr)


def announce_compilation(comm: Comm) -> None:
    """Say so before the first loop is compiled, which takes seconds, once per installation."""
    from cofi_dist.kernels.first_compilation import COMPILING, FirstCompilation

    if comm.rank == 0:
        FirstCompilation.on_start(lambda: log_stderr(COMPILING))
