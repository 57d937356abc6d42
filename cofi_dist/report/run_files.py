"""Read the files of a run directory, without the model."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cofi_dist.config import Config, load_config
from cofi_dist.errors import CofiError, ConfigError, RunError
from cofi_dist.files.reading import MOST_JSON, read_lines, read_text
from cofi_dist.files.records import Record, read_record
from cofi_dist.report.run_metrics import Metrics, named_errors, read_metrics
from cofi_dist.run_layout import CONFIG, LOG, METRICS, SHARDS
from cofi_dist.run_result import read_result

LONGEST_NAME = 48

# Lines about epochs in train.log, which are left out, as the curves show them better.
EPOCH_LINE = re.compile(r"Epoch  .*| *\d+ {7}\S+( +\S+){0,2}")
MAX_LOG_LINES = 20_000  # without those about epochs
MAX_SHARDS_BYTES = 2**22  # enough for tens of thousands of ranks
GO_WITHOUT = "remove it to go without"

Count = Annotated[int, Field(ge=0, lt=2**53)]
Word = Annotated[str, Field(max_length=200)]


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
        pruned: after which epoch, and why, a search ended the run early; empty if none did.
        noun: what one pair of the data is called, `rating` or `event`.
    """

    directory: Path
    name: str
    metrics: Metrics
    shards: Shards | None
    config: str
    log: list[str]
    diverged: str = ""
    pruned: str = ""
    noun: str = "rating"

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
    result = read_result(directory)
    if not os.path.lexists(directory / METRICS):
        if result is not None and result.update is not None:
            raise RunError(
                f"{directory}: is the update of {result.update.of}, and has no epochs to show; give that run"
            )
        raise RunError(f"{directory}: has no {METRICS}; is it a run's?")
    config = _load_config(directory / CONFIG)
    return RunFiles(
        directory=directory,
        name=name,
        metrics=read_metrics(directory / METRICS, config),
        shards=_read_shards(directory / SHARDS),
        config=_read_config(directory / CONFIG),
        log=_read_log(directory / LOG),
        diverged="" if result is None else result.diverged,
        pruned="" if result is None else result.pruned,
        noun="event" if config is not None and config.data.feedback == "implicit" else "rating",
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


def _load_config(file: Path) -> Config | None:
    """Return the run's config; None if it is missing, or of a version that this one cannot read."""
    with suppress(CofiError):
        return load_config(file)
    return None


def _read_config(file: Path) -> str:
    with suppress(FileNotFoundError), named_errors(file, GO_WITHOUT):
        return read_text(file, MOST_JSON)
    return ""


def _read_log(file: Path) -> list[str]:
    """Return the lines of the log, without those about epochs."""
    found: list[str] = []
    with suppress(FileNotFoundError), named_errors(file, GO_WITHOUT):
        for line in read_lines(file):
            if not EPOCH_LINE.fullmatch(line):
                found.append(line)
            if len(found) > MAX_LOG_LINES:
                raise ValueError(f"holds more than {MAX_LOG_LINES:,} lines beside those of the epochs")
    return found


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
    with suppress(FileNotFoundError), named_errors(file, GO_WITHOUT):
        record = read_record(file, _ShardsRecord, MAX_SHARDS_BYTES)
        return Shards(
            ratings=np.array([rank.ratings for rank in record.ranks], np.int64),
            num_users=record.ranks[-1].stop,
            num_items=record.num_items,
            device=record.device,
            backend=record.backend,
        )
    return None
