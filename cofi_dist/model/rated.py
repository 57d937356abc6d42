"""What the users of a model have rated, where the run's data is still at hand."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofi_dist.data.ids import IdMap
from cofi_dist.data.shards import UserRange
from cofi_dist.data.sources import Source, open_source
from cofi_dist.data.split import Part
from cofi_dist.data.triples import Ratings
from cofi_dist.errors import RunError
from cofi_dist.model.scores import Rows
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model.model import Model


@dataclass(frozen=True)
class Rated:
    """The ratings of a run, whose user and item rows are the model's."""

    source: Source
    ids: tuple[IdMap, IdMap]

    def __repr__(self) -> str:
        users, items = (counted(len(ids), noun) for ids, noun in zip(self.ids, ("user", "item"), strict=True))
        return f"Rated({', '.join(self.parts)}; {users}, {items})"

    @property
    def parts(self) -> tuple[Part, ...]:
        """`train`, and what was held out."""
        return self.source.parts

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """This part of the ratings of these users; `user` counts from `users.start`."""
        return self.source.load(users, part)

    def cells(self, users: UserRange) -> tuple[Rows, Rows]:
        """User (from `users.start`) and item of every rating of theirs, of all parts."""
        loaded = [self.load(users, part) for part in self.parts]
        user = np.concatenate([ratings.user for ratings in loaded]).astype(np.int64)
        return user, np.concatenate([ratings.item for ratings in loaded]).astype(np.int64)

    def items_of(self, user: int | str) -> pl.Series:
        """Raw ids of the items that a user has rated, of all parts; none for an unknown user."""
        users, items = self.ids
        row = int(users.find(pl.Series([user]))[0])
        return items.raw[self.cells(UserRange(row, row + 1))[1] if row >= 0 else []]


def open_rated(model: "Model", directory: Path) -> Rated:
    """The ratings that the model of this run was trained on and held to.

    Args:
        model: of the run.
        directory: of the run, or of the model in it.

    Raises:
        CofiError: they are not there, or are not the model's.
    """
    run = directory if (directory / "model").is_dir() else directory.parent
    source = open_source(model.config.data, run / "data")
    if source.fingerprint() != model.facts.fingerprint:
        where = model.config.data.prepared or model.config.data.y or run / "data"
        raise RunError(
            f"{where}: holds other ratings, or other splits of them, than the model was trained with;"
            " train it again"
        )
    if any(not a.raw.equals(b.raw) for a, b in zip(source.ids, (model.users, model.items), strict=True)):
        raise RunError(f"{run}: the model's ids are not those of its ratings; train it again")
    return Rated(source, (model.users, model.items))
