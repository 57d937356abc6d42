"""Read the files of a run directory, without the model."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cofi_dist.errors import ConfigError, RunError
from cofi_dist.files.reading import (
    MOST_JSON,
    Record,
    parse_json,
    read_failure,
    read_lines,
    read_record,
    read_text,
    shortened,
)
from cofi_dist.run_layout import CONFIG, LOG, METRICS, SHARDS
from cofi_dist.run_result import read_result

REQUIRED_COLUMNS = ("epoch", "cost", "seconds", "ratings_per_second")
OPTIONAL_COLUMNS = ("validation_rmse", "validation_mae")
LONGEST_NAME = 48

# Lines about epochs in train.log, which are left out, as the curves show them better.
EPOCH_LINE = re.compile(r"Epoch  .*| *\d+ {7}\S+( +\S+){0,2}")
MAX_LOG_LINES = 20_000  # without those about epochs
MAX_SHARDS_BYTES = 2**22  # enough for tens of thousands of ranks
MAX_MEASURED = 1e100  # larger values cannot be drawn
GO_WITHOUT = "remove it to go without"

Count = Annotated[int, Field(ge=0, lt=2**53)]
Word = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True)
class Metrics:
    """Hold the columns of metrics.jsonl, with one row per printed epoch; nan if a value was not measured.

    Attributes:
        epoch: ascending. If an epoch occurs twice, because training was resumed at an earlier one, the
            later line counts.
        cost, seconds, ratings_per_second, validation_rmse, validation_mae: as the trainer reports them.
    """

    epoch: NDArray[np.float64]
    cost: NDArray[np.float64]
    seconds: NDArray[np.float64]
    ratings_per_second: NDArray[np.float64]
    validation_rmse: NDArray[np.float64]
    validation_mae: NDArray[np.float64]

    @property
    def best(self) -> int | None:
        """Return the row with the lowest validation RMSE; None if there is no validation."""
        known = np.isfinite(self.validation_rmse)
        return int(np.nanargmin(np.where(known, self.validation_rmse, np.nan))) if known.any() else None

    @property
    def speed(self) -> NDArray[np.float64]:
        """Return the training ratings per second since the previous row, or since the start."""
        with np.errstate(all="ignore"):
            seconds = np.diff(self.seconds, prepend=0.0)
            ratings = np.diff(self.ratings_per_second * self.seconds, prepend=0.0)
            speed: NDArray[np.float64] = np.where((seconds > 0) & (ratings > 0), ratings / seconds, np.nan)
        return speed


@dataclass(frozen=True)
class Shards:
    """Hold how the run was distributed over its ranks.

    Attributes:
        ratings: number of ratings on each rank, including held-out ones, (world_size,).
        num_users: number of users on all ranks.
        num_items: number of items; None if the run was made before it was recorded here.
        device: cpu, cuda or mps.
        backend: name of what carries the collectives.
    """

    ratings: NDArray[np.int64]
    num_users: int
    num_items: int | None
    device: str
    backend: str

    @property
    def load(self) -> NDArray[np.float64]:
        """Return the ratings of each rank, divided by the mean over ranks."""
        return np.divide(self.ratings, max(self.ratings.mean(), 1.0), dtype=np.float64)


@dataclass(frozen=True)
class RunFiles:
    """Hold the contents of a run directory, apart from the model.

    Attributes:
        directory: path of the run directory.
        name: of the directory, with as many of its parents as are needed to tell the runs apart.
        metrics: at least one row.
        shards: None if the run left no such file.
        config: text of the resolved config; empty if there is no file.
        log: lines of train.log, without those about epochs.
        diverged: what became NaN or infinite; empty if nothing did.
    """

    directory: Path
    name: str
    metrics: Metrics
    shards: Shards | None
    config: str
    log: list[str]
    diverged: str = ""

    @property
    def num_items(self) -> int | None:
        """Return the number of items; None if it is unknown."""
        if self.shards is not None and self.shards.num_items is not None:
            return self.shards.num_items
        # An older run has it only in its log, in a line of the notebook's.
        pairs = (line.partition(":") for line in self.log)
        counts = (count.strip() for name, _, count in pairs if name == "Num. movies")
        return next((int(count) for count in counts if count.isdecimal() and len(count) < 20), None)


def read_runs(directories: Sequence[Path]) -> list[RunFiles]:
    """Read the files of each run.

    Raises:
        ConfigError: a run is given twice.
        RunError: a directory is not that of a run, nothing was trained in it, or a file of it is damaged.
    """
    for directory, count in Counter(path.resolve() for path in directories).items():
        if count > 1:
            raise ConfigError(f"{directory}: given {count} times; give each run once")
    return [
        _read_run(directory, name)
        for directory, name in zip(directories, display_names(directories), strict=True)
    ]


def _read_run(directory: Path, name: str) -> RunFiles:
    if not directory.is_dir():
        raise RunError(f"{directory}: {'is a file' if directory.exists() else 'no such directory'}")
    if not os.path.lexists(directory / METRICS):
        raise RunError(f"{directory}: has no {METRICS}; is it a run's?")
    return RunFiles(
        directory=directory,
        name=name,
        metrics=_read_metrics(directory / METRICS),
        shards=_read_shards(directory / SHARDS),
        config=_read_config(directory / CONFIG),
        log=_read_log(directory / LOG),
        diverged=_read_divergence(directory),
    )


def display_names(directories: Sequence[Path]) -> list[str]:
    """Return the last part of each path, with as many parents as are needed to differ from the others.

    Long names are cut at the front, and characters that cannot be printed are replaced.
    """
    paths = [path.resolve() for path in directories]
    names = []
    for path in paths:
        for depth in range(1, len(path.parts) + 1):
            tail = path.parts[-depth:]
            if sum(other.parts[-depth:] == tail for other in paths) == 1:
                break
        text = "/".join(tail).encode("utf-8", "replace").decode()  # a file name need not be valid text
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
        names.append(text if len(text) <= LONGEST_NAME else f"...{text[3 - LONGEST_NAME :]}")
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, 1)]
    return names


@contextmanager
def _named_errors(file: Path, advice: str) -> Iterator[None]:
    """Turn an error about a file of the run into one that says what to do; a missing file is passed on."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; {advice}") from None


def _read_config(file: Path) -> str:
    with suppress(FileNotFoundError), _named_errors(file, GO_WITHOUT):
        return read_text(file, MOST_JSON)
    return ""


def _read_log(file: Path) -> list[str]:
    """Return the lines of the log, without those about epochs."""
    found: list[str] = []
    with suppress(FileNotFoundError), _named_errors(file, GO_WITHOUT):
        for line in read_lines(file):
            if not EPOCH_LINE.fullmatch(line):
                found.append(line)
            if len(found) > MAX_LOG_LINES:
                raise ValueError(f"holds more than {MAX_LOG_LINES:,} lines beside those of the epochs")
    return found


def _read_divergence(directory: Path) -> str:
    """Return what diverged in a run; empty if nothing did, or the run has not ended."""
    result = read_result(directory)
    return "" if result is None else result.diverged


def _read_metrics(file: Path) -> Metrics:
    rows: dict[float, list[float]] = {}
    with _named_errors(file, "it is damaged: mend or remove that line"):
        for number, line in enumerate(read_lines(file), 1):
            try:
                entry = parse_json(line)
                if isinstance(entry, dict) and "checkpoint" in entry:
                    continue  # it is about a checkpoint, not about an epoch
                row = _row(entry)
            except (ValueError, OverflowError) as error:
                raise ValueError(f"line {number}: {error}") from None
            rows[row[0]] = row
    if not rows:
        raise RunError(f"{file}: holds no epoch; {_read_divergence(file.parent) or 'was anything trained?'}")
    return Metrics(*np.array([rows[epoch] for epoch in sorted(rows)]).T)


def _row(line: Any) -> list[float]:
    """Return the values of a line of metrics, in the order of the columns."""
    if not isinstance(line, dict):
        raise ValueError(f"must hold an object, not {shortened(line)}")
    for name in (*REQUIRED_COLUMNS, *(name for name in OPTIONAL_COLUMNS if name in line)):
        value = line.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, not {shortened(value)}")
    if not 1 <= line["epoch"] < 2**53:
        raise ValueError(f"epoch must be 1 or more, not {shortened(line['epoch'])}")
    for name in ("seconds", "ratings_per_second"):
        if not 0 <= line[name] < MAX_MEASURED:
            raise ValueError(f"{name} must be a finite number, 0 or more, not {shortened(line[name])}")
    return [float(line.get(name, np.nan)) for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)]


class _RankRecord(Record):
    """Declare what is read of each rank in shards.json."""

    stop: Count
    ratings: Count


class _ShardsRecord(Record):
    """Declare what is read of shards.json."""

    num_items: Count | None = None
    device: Word
    backend: Word
    ranks: Annotated[list[_RankRecord], Field(min_length=1)]


def _read_shards(file: Path) -> Shards | None:
    with suppress(FileNotFoundError), _named_errors(file, GO_WITHOUT):
        record = read_record(file, _ShardsRecord, MAX_SHARDS_BYTES)
        return Shards(
            ratings=np.array([rank.ratings for rank in record.ranks], np.int64),
            num_users=record.ranks[-1].stop,
            num_items=record.num_items,
            device=record.device,
            backend=record.backend,
        )
    return None
