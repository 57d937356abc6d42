"""What a run says: the notebook's lines, metrics.jsonl, the log, a live bar, TensorBoard.

stdout gets the notebook's lines and nothing else, so it can be compared with the notebook's
output; everything else goes to stderr. train.log gets both. A stream that fails ends no run: it gets
nothing more. Rank 0 holds a RunLog, the other ranks a NullLog.
"""

import dataclasses
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cofi_dist.checkpoint.writer import SaveReport
from cofi_dist.errors import ConfigError, RunError, SaveError
from cofi_dist.files.written_file import write_failure
from cofi_dist.run.directory import LOG, METRICS, TENSORBOARD, truncate_metrics
from cofi_dist.streams import harmless, log_stderr, tolerate_write_errors
from cofi_dist.training.metrics import EpochMetrics

SECONDS_BETWEEN_REDRAWS = 0.2
SCALARS = {"cost", "validation_rmse", "validation_mae"}  # what TensorBoard gets


class NullLog:
    """What a rank other than 0 says: nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stdout_line(self, text: str) -> None:
        """One of the notebook's lines."""

    def info(self, text: str) -> None:
        """Anything else worth reading."""

    def on_start(self, cost: float, epoch: int) -> None:
        """The cost before training, or after the epoch from which it goes on."""

    def on_step(self, epoch: int) -> None:
        """An epoch is done."""

    def on_metrics(self, metrics: EpochMetrics) -> None:
        """An epoch whose cost is known."""

    def on_save(self, saved: SaveReport) -> None:
        """A checkpoint is complete, or could not be."""


class RunLog(NullLog):
    """Rank 0's.

    Args:
        directory: the run directory, which exists.
        epochs: how many there will be.
        tensorboard: also write scalars for TensorBoard.
        quiet: write train.log and metrics.jsonl, but print no lines; a terminal gets the bar alone.
        validates: lines have two more columns, for the epochs that are validated.
        begun_at: the epoch from which a run goes on; what was printed of later ones is dropped.

    Raises:
        RunError: the log can't be written.
    """

    def __init__(
        self,
        directory: Path,
        epochs: int,
        *,
        tensorboard: bool,
        validates: bool = False,
        quiet: bool = False,
        begun_at: int = 0,
    ) -> None:
        self._begun_at = begun_at
        truncate_metrics(directory, begun_at)
        try:
            self._log, self._metrics = _Lines(directory / LOG), _Lines(directory / METRICS)
        except OSError as error:
            raise RunError(f"{directory}: cannot be written: {error.strerror}") from None
        self._scalar = _scalar_writer(directory / TENSORBOARD) if tensorboard else None
        self._validates, self._quiet = validates, quiet
        # a shorter bar where the RMSE stands beside it: all in 80 columns
        self._bar = _bar(epochs, 8 if validates else 20)
        self._task = self._bar.add_task("", total=epochs, visible=False, cost="", speed="")
        self._drawn = self._started = time.perf_counter()
        self._cost = self._rmse = ""

    def __enter__(self) -> Self:
        with self._drawing():
            self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        with self._drawing():
            self._bar.stop()
        lost = [text for lines in (self._log, self._metrics) if (text := lines.close())]
        if lost and raised[0] is None:
            raise SaveError(f"{'; '.join(lost)}; all else of the run is saved")
        for text in lost:
            log_stderr(text)

    def stdout_line(self, text: str) -> None:
        self._write(text, sys.stdout, self.info)

    def info(self, text: str) -> None:
        self._write(text, sys.stderr, self._log.add)

    def on_start(self, cost: float, epoch: int) -> None:
        self.stdout_line(f"Loss after epoch {epoch}: {cost}" if epoch else f"Initial loss: {cost}")
        self.stdout_line(
            f"Epoch       {'Loss':<16} {'RMSE':>8} {'MAE':>8}" if self._validates else "Epoch       Loss"
        )
        self._started = time.perf_counter()
        with self._drawing():
            self._bar.reset(self._task, visible=True)

    def on_metrics(self, metrics: EpochMetrics) -> None:
        measured = {name: value for name, value in dataclasses.asdict(metrics).items() if value is not None}
        self._metrics.add(json.dumps(measured))
        line, rmse = f"{metrics.epoch:5}       {metrics.cost:.5f}", metrics.validation_rmse
        self._cost = f"{metrics.cost:.5g}"
        if rmse is not None:
            line = f"{line:<28} {rmse:8.5f} {metrics.validation_mae:8.5f}"
            self._rmse = f" rmse {rmse:.4f}"
        self.stdout_line(line)
        if self._scalar:
            for name in SCALARS & measured.keys():
                self._scalar(name, measured[name], metrics.epoch)

    def on_save(self, saved: SaveReport) -> None:
        if saved.error:
            self.info(f"the checkpoint of epoch {saved.epoch} could not be saved: {saved.error}")
            return
        measured = {name: value for name, value in dataclasses.asdict(saved).items() if name != "error"}
        self._metrics.add(json.dumps({"epoch": measured.pop("epoch"), "checkpoint": measured}))

    def on_step(self, epoch: int) -> None:
        now = time.perf_counter()
        if now - self._drawn < SECONDS_BETWEEN_REDRAWS:
            return
        self._drawn = now
        speed = f"{(epoch - self._begun_at) / (now - self._started):.3g}"
        shown = self._cost + self._rmse
        with self._drawing():
            self._bar.update(self._task, completed=epoch, cost=shown, speed=speed, refresh=True)

    def _drawing(self) -> AbstractContextManager[None]:
        return tolerate_write_errors(sys.stderr, self._log.add)

    def _write(self, text: str, stream: TextIO, tell: Callable[[str], None]) -> None:
        text = harmless(text)
        self._log.add(text)
        if self._quiet:
            return
        if not self._bar.disable and stream.isatty():
            # above the live bar, which would overwrite it
            with self._drawing():
                self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            with tolerate_write_errors(stream, tell):
                stream.write(text + "\n")  # in one piece: other ranks write there too


class _Lines:
    """A file to which lines are added. What a full disk refuses is kept, and written when it can be."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._kept = path, path.open("ab", buffering=0), b""

    def add(self, text: str) -> None:
        self._kept += f"{text}\n".encode()
        with suppress(OSError):
            while self._kept:
                self._kept = self._kept[self._file.write(self._kept) :]

    def close(self) -> str:
        """Write what is kept; returns what went wrong, empty if nothing did."""
        try:
            while self._kept:
                self._kept = self._kept[self._file.write(self._kept) :]
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            return f"{self._path}: cannot be written to the end: {write_failure(error)}"
        return ""


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
        disable=not sys.stderr.isatty(),  # rich would draw in a job log too, if FORCE_COLOR is set
    )


def require_tensorboard() -> None:
    """Raise ConfigError unless TensorBoard is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("train.tensorboard: needs TensorBoard: pip install tensorboard, or set it to false")


def _scalar_writer(directory: Path) -> Callable[[str, float, int], None]:
    from torch.utils.tensorboard import SummaryWriter  # an extra, slow to import

    writer = SummaryWriter(str(directory))

    def write(name: str, value: float, epoch: int) -> None:
        writer.add_scalar(name, value, epoch)
        writer.flush()

    return write
