"""Read the metrics of a run, and tell which epoch was the best."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Config, Metric
from cofi_dist.errors import RunError
from cofi_dist.files.reading import parse_json, read_failure, read_lines, shortened
from cofi_dist.run_result import read_result
from cofi_dist.training.metrics import ERRORS, TITLES, Criterion

REQUIRED_COLUMNS = ("epoch", "cost", "seconds", "ratings_per_second")
VALIDATION = "validation_"  # begins the names of the columns of figures on the validation ratings
LENGTH, SAMPLE = VALIDATION + "k", VALIDATION + "users"  # of the lists that these figures are about
MAX_MEASURED = 1e100  # larger values cannot be drawn


@dataclass(frozen=True)
class Metrics:
    """Hold the columns of metrics.jsonl, with one row per printed epoch; nan if a value was not measured.

    Attributes:
        epoch: ascending. If an epoch occurs twice, because training was resumed at an earlier one, the
            later line counts.
        cost, seconds, ratings_per_second: as the trainer reports them.
        validation: figures on the validation ratings by the name of the metric, those that were measured; nan
            if an epoch was judged by another criterion, which cannot be compared.
        criterion: that by which the run was judged last.
    """

    epoch: NDArray[np.float64]
    cost: NDArray[np.float64]
    seconds: NDArray[np.float64]
    ratings_per_second: NDArray[np.float64]
    validation: dict[str, NDArray[np.float64]]
    criterion: Criterion

    @property
    def best(self) -> int | None:
        """Return the row with the best figure on the validation ratings; None if there is no validation."""
        figures = self.validation.get(self.criterion.metric, np.empty(0))
        known = np.flatnonzero(np.isfinite(figures))
        if not len(known):
            return None
        sign = 1 if self.criterion.better == "lower" else -1
        return int(known[np.argmin(sign * figures[known])])

    @property
    def figures(self) -> dict[str, NDArray[np.float64]]:
        """Return the columns that do not depend on how fast the run was, apart from the epochs, by name."""
        measured = {VALIDATION + name: values for name, values in self.validation.items()}
        return {"cost": self.cost, **measured}

    @property
    def speed(self) -> NDArray[np.float64]:
        """Return the training ratings per second since the previous row; nan for the first.

        An epoch is printed before its step, so the first row has none behind it that its time could be of.
        """
        with np.errstate(all="ignore"):
            seconds = np.diff(self.seconds, prepend=np.nan)
            ratings = np.diff(self.ratings_per_second * self.seconds, prepend=np.nan)
            speed: NDArray[np.float64] = np.where((seconds > 0) & (ratings > 0), ratings / seconds, np.nan)
        return speed

    @property
    def mean_speed(self) -> float:
        """Return the training ratings per second from the first row to the last; nan without time between."""
        ratings = self.ratings_per_second * self.seconds
        seconds = self.seconds[-1] - self.seconds[0]
        return float((ratings[-1] - ratings[0]) / seconds) if seconds > 0 else math.nan


def read_metrics(file: Path, config: Config | None) -> Metrics:
    """Read the metrics of a run, whose config says by which of them it was judged.

    Raises:
        RunError: the file of metrics is damaged, or holds no epoch.
    """
    rows: dict[float, dict[str, float]] = {}
    with named_errors(file, "it is damaged: mend or remove that line"):
        for number, line in enumerate(read_lines(file), 1):
            try:
                entry = parse_json(line)
                if isinstance(entry, dict) and "checkpoint" in entry:
                    continue  # it is about a checkpoint, not about an epoch
                row = _row(entry)
            except (ValueError, OverflowError) as error:
                raise ValueError(f"line {number}: {error}") from None
            rows.pop(row["epoch"], None)  # so that the rows are in the order in which they were written
            rows[row["epoch"]] = row
    if not rows:
        raise RunError(f"{file}: holds no epoch; {_read_divergence(file.parent) or 'was anything trained?'}")
    criterion = _last_criterion(rows.values(), config)
    in_order = [rows[epoch] for epoch in sorted(rows)]
    judged = [row if _is_judged_by(criterion, row) else {} for row in in_order]
    measured = [name for name in criterion.names if any(VALIDATION + name in row for row in judged)]
    return Metrics(
        **{name: _column(name, in_order) for name in REQUIRED_COLUMNS},
        validation={name: _column(VALIDATION + name, judged) for name in measured},
        criterion=criterion,
    )


def _column(name: str, rows: Iterable[dict[str, float]]) -> NDArray[np.float64]:
    return np.array([row.get(name, np.nan) for row in rows])


def _last_criterion(rows: Iterable[dict[str, float]], config: Config | None) -> Criterion:
    """Return by what the last validated row was judged; rows are in the order in which they were written.

    Of RMSE and MAE, the config says which one decides. It also says the length of the lists if the row does
    not, as in files of earlier versions.
    """
    last: dict[str, float] = {}
    for row in rows:
        last = row if any(VALIDATION + name in row for name in TITLES) else last
    measured = [name for name in TITLES if VALIDATION + name in last]
    section = None if config is None or config.validation.metric not in measured else config.validation
    metric = section.metric if section else cast(Metric, measured[0] if measured else "rmse")
    if metric in ERRORS:
        return Criterion(metric)
    k, users = last.get(LENGTH, section.list_length if section else None), last.get(SAMPLE)
    return Criterion(metric, None if k is None else int(k), None if users is None else int(users))


def _is_judged_by(criterion: Criterion, row: dict[str, float]) -> bool:
    """Tell whether a row's lists are those of the criterion; a row of an earlier version does not say."""
    return LENGTH not in row or (row[LENGTH], row.get(SAMPLE)) == (criterion.k, criterion.users)


def _row(line: Any) -> dict[str, float]:
    """Return the values of a line of metrics, by the name of the column."""
    if not isinstance(line, dict):
        raise ValueError(f"must hold an object, not {shortened(line)}")
    optional = [name for name in (*map(VALIDATION.__add__, TITLES), LENGTH, SAMPLE) if name in line]
    for name in (*REQUIRED_COLUMNS, *optional):
        value = line.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, not {shortened(value)}")
    for name in ("epoch", LENGTH, SAMPLE):
        if name in line and not 1 <= line[name] < 2**53:
            raise ValueError(f"{name} must be 1 or more, not {shortened(line[name])}")
    for name in ("seconds", "ratings_per_second"):
        if not 0 <= line[name] < MAX_MEASURED:
            raise ValueError(f"{name} must be a finite number, 0 or more, not {shortened(line[name])}")
    return {name: float(line[name]) for name in (*REQUIRED_COLUMNS, *optional)}


def _read_divergence(directory: Path) -> str:
    """Return what diverged in a run; empty if nothing did, or the run has not ended."""
    result = read_result(directory)
    return "" if result is None else result.diverged


@contextmanager
def named_errors(file: Path, advice: str) -> Iterator[None]:
    """Turn an error about a file of the run into one that says what to do; a missing file is passed on."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; {advice}") from None
