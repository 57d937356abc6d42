"""Report the progress of a run: the notebook's lines, metrics.jsonl, train.log, the screen and callbacks.

Only the notebook's lines go to stdout, so that it can be compared with the notebook's output; everything else
goes to stderr. train.log gets both.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Literal, Protocol, Self

from cofi_dist.checkpoint.writer import SaveReport
from cofi_dist.errors import RunError, SaveError, StoppedError
from cofi_dist.run.log_files import LineFile, truncate_metrics
from cofi_dist.run.screen import Screen, StreamScreen
from cofi_dist.run_layout import LOG, METRICS
from cofi_dist.streams import harmless, log_stderr
from cofi_dist.trackers import CheckpointReport, Metrics, Outcome
from cofi_dist.trackers.group import CallbackGroup
from cofi_dist.training.callbacks import ProgressListener
from cofi_dist.training.metrics import Criterion, EpochMetrics


class Log(ProgressListener, Protocol):
    """Receive what a run has to say; entered before the first line, and left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: object) -> None: ...

    def stdout_line(self, text: str) -> None:
        """Write one of the notebook's lines."""
        ...

    def on_save(self, report: SaveReport) -> None:
        """Record that a checkpoint is complete, or could not be saved."""
        ...

    def on_end(self, outcome: Outcome) -> None:
        """Report how the run ended, unless it ends by an error."""
        ...


class NullLog:
    """Drop everything: the log of all ranks but rank 0."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def stdout_line(self, text: str) -> None:
        pass

    def info(self, text: str) -> None:
        pass

    def on_start(self, cost: float, epoch: int) -> None:
        pass

    def on_step(self, epoch: int) -> None:
        pass

    def on_metrics(self, metrics: EpochMetrics) -> None:
        pass

    def on_save(self, report: SaveReport) -> None:
        pass

    def on_end(self, outcome: Outcome) -> None:
        pass


class RunLog:
    """Write to the screen and the log files, then report to the callbacks: the log of rank 0.

    Args:
        directory: the run directory, which must exist.
        epochs: number of epochs of the run.
        callbacks: get the same reports, after the files are written; None for none.
        criterion: names the figures that lines also show, for the epochs that are validated; None for none.
        screen: shows the run to whoever watches it; stdout and stderr by default.
        begun_at: the epoch from which the run resumes; the metrics of later epochs are dropped.

    Raises:
        RunError: a file cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        epochs: int,
        *,
        callbacks: CallbackGroup | None = None,
        criterion: Criterion | None = None,
        screen: Screen | None = None,
        begun_at: int = 0,
    ) -> None:
        self._begun_at = begun_at
        truncate_metrics(directory, begun_at)
        try:
            self._log, self._metrics = LineFile(directory / LOG), LineFile(directory / METRICS)
        except OSError as error:
            raise RunError(f"{directory}: cannot be written: {error.strerror}") from None
        self._callbacks = callbacks
        self._criterion = criterion
        self._screen = screen or StreamScreen()
        self._epochs, self._started = epochs, time.perf_counter()
        self._cost = self._figure = ""

    def __enter__(self) -> Self:
        self._screen.open(self._epochs, self._criterion, self._log.add)
        return self

    def __exit__(self, *raised: object) -> None:
        error = raised[1]
        if isinstance(error, BaseException):
            status: Literal["stopped", "failed"] = "stopped" if isinstance(error, StoppedError) else "failed"
            self.on_end(Outcome(status=status, message=str(error) or type(error).__name__))
        self._screen.close()
        failures = [text for file in (self._log, self._metrics) if (text := file.close())]
        if failures and raised[0] is None:
            raise SaveError(f"{'; '.join(failures)}; all else of the run is saved")
        for text in failures:
            log_stderr(text)

    def stdout_line(self, text: str) -> None:
        text = harmless(text)
        self._log.add(text)
        self._screen.line(text)

    def info(self, text: str) -> None:
        text = harmless(text)
        self._log.add(text)
        self._screen.note(text)

    def on_start(self, cost: float, epoch: int) -> None:
        self.stdout_line(f"Loss after epoch {epoch}: {cost}" if epoch else f"Initial loss: {cost}")
        columns = "".join(f" {title}" for title in self._titles.values())
        self.stdout_line(f"Epoch       {'Loss':<16}{columns}" if columns else "Epoch       Loss")
        if self._callbacks is not None:
            self._callbacks.start()
        self._started = time.perf_counter()
        self._screen.begin()

    def on_metrics(self, metrics: EpochMetrics) -> None:
        measured, accuracy = metrics.to_json(), metrics.accuracy
        self._metrics.add(json.dumps(measured))
        line = f"{metrics.epoch:5}       {metrics.cost:.5f}"
        self._cost = f"{metrics.cost:.5g}"
        if accuracy is not None:
            titles = self._titles
            figures = (f"{figure:{len(titles[name])}.5f}" for name, figure in accuracy.figures.items())
            line = f"{line:<28} {' '.join(figures)}"
            self._figure = f" {accuracy.criterion.metric} {accuracy.deciding:.4f}"
        self.stdout_line(line)
        if self._callbacks is not None:
            self._callbacks.report(
                Metrics(
                    epoch=metrics.epoch,
                    cost=metrics.cost,
                    seconds=metrics.seconds,
                    ratings_per_second=metrics.ratings_per_second,
                    validation={} if accuracy is None else accuracy.figures,
                )
            )

    def on_save(self, report: SaveReport) -> None:
        self._write_save(report)
        if self._callbacks is not None:
            self._callbacks.report(
                CheckpointReport(
                    epoch=report.epoch, bytes=report.bytes, seconds=report.seconds, error=report.error
                )
            )

    def _write_save(self, report: SaveReport) -> None:
        if report.error:
            self.info(f"the checkpoint of epoch {report.epoch} could not be saved: {report.error}")
            return
        measured = {name: value for name, value in dataclasses.asdict(report).items() if name != "error"}
        self._metrics.add(json.dumps({"epoch": measured.pop("epoch"), "checkpoint": measured}))

    def on_step(self, epoch: int) -> None:
        seconds = max(time.perf_counter() - self._started, 1e-9)
        speed = (epoch - self._begun_at) / seconds
        self._screen.step(epoch, self._cost + self._figure, speed)
        self._tell_of_callbacks()

    def on_end(self, outcome: Outcome) -> None:
        if self._callbacks is not None:
            self._callbacks.end(outcome, self.info)
        self._tell_of_callbacks()

    def _tell_of_callbacks(self) -> None:
        """Log what there is to say of callbacks; here, as they run on other threads."""
        for text in () if self._callbacks is None else self._callbacks.lines():
            self.info(text)

    @property
    def _titles(self) -> dict[str, str]:
        """Return the title of each figure's column, as wide as the column."""
        criterion = self._criterion
        return {} if criterion is None else {name: f"{criterion.title(name):>8}" for name in criterion.names}
