"""Hold what the steps of a preparation share: what is asked for, and the ratings on disk."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from cofi_dist.config import DataSection
from cofi_dist.data.preparation.spool import RowBatch, Spool
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.data.splits import Part, held_out

# Called with what is being done, how many ratings it has gone through, and of how many; None if unknown.
OnStep = Callable[[str, int, int | None], object]


def counted_rows(batches: Iterable[RowBatch], what: str, total: int, on_step: OnStep) -> Iterator[RowBatch]:
    """Yield batches, and report of each that it has been dealt with when the next one is asked for."""
    done = 0
    for rows in batches:
        yield rows
        done += len(rows["item"])
        on_step(what, done, total)


def say_nothing(what: str, done: int, total: int | None) -> None:
    """Report no step."""


@dataclass(frozen=True)
class Job:
    """Hold what every step of a preparation needs.

    Attributes:
        inputs: the files or the table of the ratings, and the files of the parts that are given as such.
        data: the config's section.
        work: folder for the spools.
        notes: lines about what was read, dropped and held out; every step adds its own.
        on_step: learns how far the preparation has come.
    """

    inputs: dict[Part, RatingsInput]
    data: DataSection
    work: Path
    notes: list[str]
    on_step: OnStep = say_nothing

    @property
    def name(self) -> str:
        """Return what messages call the ratings."""
        return self.inputs["train"].name

    @property
    def noun(self) -> str:
        """Return what a row is."""
        return "event" if self.data.feedback == "implicit" else "rating"

    @property
    def with_time(self) -> bool:
        """Tell whether timestamps are needed."""
        return any(split.needs_times for split in held_out(self.data).values())

    @property
    def dtypes(self) -> dict[str, type[np.number]]:
        """Return the columns that are read, and their types."""
        floats = {"value": True, "time": self.with_time, "weight": self.data.columns.weight is not None}
        return {
            "user": np.int32,
            "item": np.int32,
            **{n: np.float64 for n, is_read in floats.items() if is_read},
            **({"part": np.int8} if len(self.inputs) > 1 else {}),
        }


@dataclass
class SpooledRatings:
    """Hold ratings on disk, in spools of consecutive users.

    Attributes:
        users: raw ids of the users, ascending; a rating's `user` is a position in it.
        items: the same of the items.
        spools: in the order of their users.
        dtypes: of the values, and of the weights if there are any: float32, unless some need float64.
    """

    users: pl.Series
    items: pl.Series
    spools: list[Spool]
    dtypes: dict[str, type[np.floating]]

    def __len__(self) -> int:
        return sum(map(len, self.spools))

    def taken(self) -> Iterator[RowBatch]:
        """Yield the ratings of each spool, which is removed."""
        for spool in self.spools:
            rows = spool.whole()
            spool.remove()
            yield rows

    def replace_spool(self, k: int, rows: RowBatch, work: Path, step: str) -> None:
        """Put `rows` in the place of spool k, in a new folder that is named after the step."""
        replacement = self.spools[k].like(work / f"{step}{k}")
        replacement.append(rows)
        self.spools[k].remove()
        self.spools[k] = replacement
