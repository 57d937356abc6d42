"""Read what lists may show from the files that a command names: candidates, exclusions, and users."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofi_dist.errors import DataError
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted, none_known

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.model import Model

Candidates = Annotated[
    Path | None, typer.Option(help="File of the items to choose from.", show_default=False)
]
Exclude = Annotated[
    Path | None,
    typer.Option(
        help="File of items that nobody gets, or of pairs: users, and items they do not get.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class ListLimits:
    """Hold what lists may show.

    Attributes:
        min_ratings: the least number of training ratings of an item.
        candidates: ids of the items to choose from; None for all.
        exclude: a column `item` of what nobody gets; with a column `user`, what these users do not get.
    """

    min_ratings: int = 0
    candidates: "pl.Series | None" = None
    exclude: "pl.DataFrame | None" = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments by which a model makes such lists."""
        exclude = () if self.exclude is None else self.exclude
        return {"min_ratings": self.min_ratings, "candidates": self.candidates, "exclude": exclude}

    @property
    def has_pairs(self) -> bool:
        """Return whether single users do not get some items."""
        return self.exclude is not None and "user" in self.exclude.columns


@dataclass(frozen=True)
class LimitFiles:
    """Hold the options that say what lists may show."""

    min_ratings: int
    candidates: Path | None
    exclude: Path | None

    def read(self, model: "Model", *, aloud: bool = True) -> ListLimits:
        """Read the files; if `aloud`, say what is odd about them and what the model does not know.

        Raises:
            DataError: a file is not what it should be, or the model knows no candidate.
        """
        from cofi_dist.data.readers.id_files import read_exclusions, read_ids

        columns, items, excluded = model.facts.columns, None, None
        if (file := self.candidates) is not None:
            notes: list[str] = []
            items = read_ids(file, columns, "item", notes)
            unknown = int((model.items.find(items) < 0).sum())
            notes += _unknown_note(file, unknown, len(items), "item", some_needed=True)
            _say(file, notes, aloud)
        if (file := self.exclude) is not None:
            notes = []
            excluded = read_exclusions(file, columns, notes)
            is_unknown, noun = model.items.find(excluded["item"]) < 0, "item"
            if "user" in excluded.columns:
                is_unknown, noun = is_unknown | (model.users.find(excluded["user"]) < 0), "pair"
            notes += _unknown_note(file, int(is_unknown.sum()), len(excluded), noun)
            _say(file, notes, aloud)
        return ListLimits(self.min_ratings, items, excluded)


def read_users(model: "Model", path: Path, *, aloud: bool = True) -> "pl.Series":
    """Read a file of users, say which the model does not know, and return the others in the model's order.

    Raises:
        DataError: the file is not what it should be, or the model knows none of the users.
    """
    import numpy as np

    from cofi_dist.data.readers.id_files import read_ids

    notes: list[str] = []
    users = read_ids(path, model.facts.columns, "user", notes)
    rows = model.users.find(users)
    notes += _unknown_note(path, int((rows < 0).sum()), len(rows), "user", some_needed=True)
    _say(path, notes, aloud)
    return model.users.raw[np.sort(rows[rows >= 0])]


def _unknown_note(path: Path, unknown: int, count: int, noun: str, *, some_needed: bool = False) -> list[str]:
    """Say how many ids are unknown, if any; raise DataError if all are and some are needed."""
    if unknown == count and some_needed:
        raise DataError(f"{path}: {none_known(count, noun)}")
    what = "of unknown users or items" if noun == "pair" else "unknown to the model"
    are = "is" if unknown == 1 else "are"
    return [f"{unknown:,} of {counted(count, noun)} {are} {what}; not used"] if unknown else []


def _say(path: Path, notes: list[str], aloud: bool) -> None:
    for note in notes if aloud else ():
        log_stderr(f"{path}: {note}")
