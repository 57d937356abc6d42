"""What the users of a model have rated, where the run's data is still at hand."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofi_dist.config import Data
from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.base import Source
from cofi_dist.data.sources.open import open_source
from cofi_dist.data.splits import Part
from cofi_dist.errors import CofiError, ConfigError, RunError
from cofi_dist.model.scoring import Rows
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model.model import Model


@dataclass(frozen=True)
class RunRatings:
    """The ratings of a run, whose user and item rows are the model's.

    Attributes:
        source: of them.
        ids: the model's.
        note: where they were found, if not where they were when the model was trained.
    """

    source: Source
    ids: tuple[IdMap, IdMap]
    note: str = ""

    def __repr__(self) -> str:
        users, items = (counted(len(ids), noun) for ids, noun in zip(self.ids, ("user", "item"), strict=True))
        return f"RunRatings({', '.join(self.parts)}; {users}, {items})"

    @property
    def parts(self) -> tuple[Part, ...]:
        """`train`, and what was held out."""
        return self.source.parts

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """This part of the ratings of these users; `user` counts from `users.start`."""
        return self.source.load(users, part)

    def rated_pairs(self, users: UserRange) -> tuple[Rows, Rows]:
        """User (from `users.start`) and item of every rating of theirs, of all parts."""
        loaded = [self.load(users, part) for part in self.parts]
        user = np.concatenate([ratings.user for ratings in loaded]).astype(np.int64)
        return user, np.concatenate([ratings.item for ratings in loaded]).astype(np.int64)

    def items_of(self, user: int | str) -> pl.Series:
        """Raw ids of the items that a user has rated, of all parts; none for an unknown user."""
        users, items = self.ids
        row = int(users.find(pl.Series([user]))[0])
        return items.raw[self.rated_pairs(UserRange(row, row + 1))[1] if row >= 0 else []]


def open_run_ratings(model: "Model", directory: Path, prepared: Path | None = None) -> RunRatings:
    """The ratings that the model of this run was trained on and held to.

    They are looked for where they were then, or, where the run was moved, in the same place beside it.

    Args:
        model: of the run.
        directory: of the run, or of the model in it.
        prepared: where the prepared ratings are now, if they were moved.

    Raises:
        CofiError: they are not there, or are not the model's.
    """
    run = directory if (directory / "model").is_dir() else directory.parent
    data = model.config.data
    if prepared is not None:
        if data.prepared is None:
            raise ConfigError(f"{directory}: was not trained on prepared ratings; leave --prepared out")
        return RunRatings(
            _source_of(model, data.model_copy(update={"prepared": str(prepared)}), run), _ids(model)
        )
    try:
        return RunRatings(_source_of(model, data, run), _ids(model))
    except CofiError as error:
        why = error
    beside = model.config.moved_to(run).data
    if beside != data:
        with suppress(CofiError):
            source = _source_of(model, beside, run)
            return RunRatings(
                source, _ids(model), f"{why}; taken from {beside.prepared or beside.y}, beside the run"
            )
    moved = "; if they were moved, evaluate and recommend take --prepared DIR" if data.prepared else ""
    raise type(why)(f"{why}{moved}")


def _ids(model: "Model") -> tuple[IdMap, IdMap]:
    return model.users, model.items


def _source_of(model: "Model", data: Data, run: Path) -> Source:
    """The model's ratings, and no others.

    Raises:
        CofiError: they are not there, or are not the model's.
    """
    source = open_source(data, run / "data")
    # first the numbers: a model's config may name ratings of any size, all of which would be looked at
    is_as_large = (source.num_users, source.num_items) == (len(model.users), len(model.items))
    if not is_as_large or source.fingerprint() != model.facts.fingerprint:
        where = data.prepared or data.y or run / "data"
        raise RunError(
            f"{where}: holds other ratings, or other splits of them, than the model was trained with;"
            " train it again"
        )
    if any(not a.raw.equals(b.raw) for a, b in zip(source.ids, _ids(model), strict=True)):
        raise RunError(f"{run}: the model's ids are not those of its ratings; train it again")
    return source
