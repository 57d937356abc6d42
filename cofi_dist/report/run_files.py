"""What a run left behind, read back."""

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

NEEDED = ("epoch", "cost", "seconds", "ratings_per_second")
MAY_BE = ("validation_rmse", "validation_mae")
LONGEST_NAME = 48

# The lines of the epochs in train.log: the curves show them better.
EPOCH = re.compile(r"Epoch  .*| *\d+ {7}\S+( +\S+ +\S+)?")
MOST_NOTES = 20_000  # its other lines
MOST_SHARDS = 2**22  # bytes; of tens of thousands of ranks
LARGEST = 1e100  # of what is measured; beyond it there is no picture of it
WITHOUT = "remove it to go without"

Count = Annotated[int, Field(ge=0, lt=2**53)]
Word = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True)
class Metrics:
    """metrics.jsonl by column, a row a printed epoch; what was not measured is nan.

    Attributes:
        epoch: ascending; of an epoch that stands twice, as where training went on from an earlier
            one, the later line counts.
        cost, seconds, ratings_per_second, validation_rmse, validation_mae: as the trainer's.
    """

    epoch: NDArray[np.float64]
    cost: NDArray[np.float64]
    seconds: NDArray[np.float64]
    ratings_per_second: NDArray[np.float64]
    validation_rmse: NDArray[np.float64]
    validation_mae: NDArray[np.float64]

    @property
    def best(self) -> int | None:
        """The row of the lowest validation RMSE; None without any."""
        known = np.isfinite(self.validation_rmse)
        return int(np.nanargmin(np.where(known, self.validation_rmse, np.nan))) if known.any() else None

    @property
    def speed(self) -> NDArray[np.float64]:
        """Training ratings a second since the row before, or since the start."""
        with np.errstate(all="ignore"):
            seconds = np.diff(self.seconds, prepend=0.0)
            ratings = np.diff(self.ratings_per_second * self.seconds, prepend=0.0)
            speed: NDArray[np.float64] = np.where((seconds > 0) & (ratings > 0), ratings / seconds, np.nan)
        return speed


@dataclass(frozen=True)
class Shards:
    """How the run was spread.

    Attributes:
        ratings: of each rank, held-out ones among them, (world_size,).
        num_users: of all ranks.
        device: cpu, cuda or mps.
        backend: of the collectives.
    """

    ratings: NDArray[np.int64]
    num_users: int
    device: str
    backend: str

    @property
    def load(self) -> NDArray[np.float64]:
        """Ratings of each rank against the mean."""
        return np.divide(self.ratings, max(self.ratings.mean(), 1.0), dtype=np.float64)


@dataclass(frozen=True)
class Run:
    """A run directory, as far as it can be read without the model.

    Attributes:
        directory: where it lies.
        name: of the directory, with as many of its parents as tell the runs apart.
        metrics: at least one row.
        shards: None where the run left no such file.
        config: text of the resolved config; empty without the file.
        log: lines of train.log, but those of the epochs.
        diverged: what turned NaN or infinite; empty if nothing did.
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
        """As the notebook's line has it."""
        pairs = (line.partition(":") for line in self.log)
        counts = (count.strip() for name, _, count in pairs if name == "Num. movies")
        return next((int(count) for count in counts if count.isdecimal() and len(count) < 20), None)


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """Read what each run printed and how it was spread.

    Raises:
        ConfigError: a run is given twice.
        RunError: not a run's directory, nothing trained in it, or a file of it is damaged.
    """
    for directory, count in Counter(path.resolve() for path in directories).items():
        if count > 1:
            raise ConfigError(f"{directory}: given {count} times; give each run once")
    return [
        _read(directory, name) for directory, name in zip(directories, names_of(directories), strict=True)
    ]


def _read(directory: Path, name: str) -> Run:
    if not directory.is_dir():
        raise RunError(f"{directory}: {'is a file' if directory.exists() else 'no such directory'}")
    if not os.path.lexists(directory / METRICS):
        raise RunError(f"{directory}: has no {METRICS}; is it a run's?")
    return Run(
        directory,
        name,
        _metrics(directory / METRICS),
        _shards(directory / SHARDS),
        _config(directory / CONFIG),
        _log(directory / LOG),
        _diverged(directory),
    )


def names_of(directories: Sequence[Path]) -> list[str]:
    """The last part of each path, with parents where it needs them to differ; long ones cut in front."""
    paths = [path.resolve() for path in directories]
    names = []
    for path in paths:
        for depth in range(1, len(path.parts) + 1):
            tail = path.parts[-depth:]
            if sum(other.parts[-depth:] == tail for other in paths) == 1:
                break
        text = "/".join(tail).encode("utf-8", "replace").decode()  # file names may be no text at all
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
        names.append(text if len(text) <= LONGEST_NAME else f"...{text[3 - LONGEST_NAME :]}")
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, 1)]
    return names


@contextmanager
def _refused(file: Path, advice: str) -> Iterator[None]:
    """Say what is wrong with a file of the run, and what to do; unless it is not there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; {advice}") from None


def _config(file: Path) -> str:
    with suppress(FileNotFoundError), _refused(file, WITHOUT):
        return read_text(file, MOST_JSON)
    return ""


def _log(file: Path) -> list[str]:
    """The lines of the log but those of the epochs, which the metrics have too."""
    found: list[str] = []
    with suppress(FileNotFoundError), _refused(file, WITHOUT):
        for line in read_lines(file):
            if not EPOCH.fullmatch(line):
                found.append(line)
            if len(found) > MOST_NOTES:
                raise ValueError(f"holds more than {MOST_NOTES:,} lines beside those of the epochs")
    return found


def _diverged(directory: Path) -> str:
    """What result.json says of it."""
    result = read_result(directory)
    return "" if result is None else result.diverged


def _metrics(file: Path) -> Metrics:
    rows: dict[float, list[float]] = {}
    with _refused(file, "it is damaged: mend or remove that line"):
        for number, line in enumerate(read_lines(file), 1):
            try:
                said = parse_json(line)
                if isinstance(said, dict) and "checkpoint" in said:
                    continue  # of a save, not of an epoch's cost
                row = _row(said)
            except (ValueError, OverflowError) as error:
                raise ValueError(f"line {number}: {error}") from None
            rows[row[0]] = row
    if not rows:
        raise RunError(f"{file}: holds no epoch; {_diverged(file.parent) or 'was anything trained?'}")
    return Metrics(*np.array([rows[epoch] for epoch in sorted(rows)]).T)


def _row(line: Any) -> list[float]:
    """The values of a line of metrics in the order of the columns."""
    if not isinstance(line, dict):
        raise ValueError(f"must hold an object, not {shortened(line)}")
    for name in (*NEEDED, *(name for name in MAY_BE if name in line)):
        value = line.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, not {shortened(value)}")
    if not 1 <= line["epoch"] < 2**53:
        raise ValueError(f"epoch must be 1 or more, not {shortened(line['epoch'])}")
    for name in ("seconds", "ratings_per_second"):
        if not 0 <= line[name] < LARGEST:
            raise ValueError(f"{name} must be a finite number, 0 or more, not {shortened(line[name])}")
    return [float(line.get(name, np.nan)) for name in (*NEEDED, *MAY_BE)]


class _Rank(Record):
    stop: Count
    ratings: Count


class _Spread(Record):
    """What is read of shards.json."""

    device: Word
    backend: Word
    ranks: Annotated[list[_Rank], Field(min_length=1)]


def _shards(file: Path) -> Shards | None:
    with suppress(FileNotFoundError), _refused(file, WITHOUT):
        said = read_record(file, _Spread, MOST_SHARDS)
        ratings = np.array([rank.ratings for rank in said.ranks], np.int64)
        return Shards(ratings, said.ranks[-1].stop, said.device, said.backend)
    return None
