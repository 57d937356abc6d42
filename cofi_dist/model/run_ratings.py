"""Open the ratings that a model was trained on, if the data of its run is still there."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from cofi_dist.config import Config, DataSection
from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.base import Source
from cofi_dist.data.splits import Part
from cofi_dist.errors import CofiError, ConfigError, DataError, RunError
from cofi_dist.model.scoring import RowIndices
from cofi_dist.run_layout import MODEL, is_run
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.words import counted


@dataclass(frozen=True)
class RunRatings:
    """Hold the ratings that a model was trained on, and those that were held out.

    Attributes:
        source: where they are read from.
        ids: the ids of the model's users and of its items.
        note: where the ratings were found, if not where they were when the model was trained.
    """

    source: Source
    ids: tuple[IdMap, IdMap]
    note: str = ""

    def __repr__(self) -> str:
        users, items = (counted(len(ids), noun) for ids, noun in zip(self.ids, ("user", "item"), strict=True))
        return f"RunRatings({', '.join(self.parts)}; {users}, {items})"

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return the names of the parts: `train`, and `validation` and `test` if they were held out."""
        return self.source.parts

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """Return one part of the ratings of these users; `user` counts from `users.start`."""
        return self.source.load(users, part)

    def rated_pairs(self, users: UserRange) -> tuple[RowIndices, RowIndices]:
        """Return user (from `users.start`) and item of every rating by these users, of all parts."""
        loaded = [self.load(users, part) for part in self.parts]
        user = np.concatenate([ratings.user for ratings in loaded]).astype(np.int64)
        return user, np.concatenate([ratings.item for ratings in loaded]).astype(np.int64)

    def pairs_of(self, rows: RowIndices) -> tuple[RowIndices, RowIndices]:
        """Return user (a position in `rows`) and item of every rating by the users of these rows."""
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        stops = np.append(starts, len(rows))[1:]
        user, item = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):  # users that follow each other
            first = int(rows[start])
            of_range = self.rated_pairs(UserRange(first, first + stop - start))
            user.append(of_range[0] + start)
            item.append(of_range[1])
        return np.concatenate(user), np.concatenate(item)

    def items_of(self, user: int | str) -> pl.Series:
        """Return the ids of all items that a user has rated, held out or not; none for an unknown user."""
        users, items = self.ids
        row = int(users.find(pl.Series([user]))[0])
        return items.raw[self.rated_pairs(UserRange(row, row + 1))[1] if row >= 0 else []]


def require_run_ratings(rated: object) -> RunRatings:
    """Return what a caller gave as the ratings of a run.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(rated, RunRatings):
        raise DataError(f"rated is of type {type(rated).__name__}; give what model.rated() returns")
    return rated


def require_same_rows(rated: object, users: IdMap, items: IdMap) -> RunRatings | None:
    """Return the ratings of a run if their rows are those of a model; None if there are none.

    Raises:
        DataError: they are not; another model's ratings would be those of other users.
    """
    if rated is None:
        return None
    found = require_run_ratings(rated)
    for of_model, of_ratings, noun in zip((users, items), found.ids, ("users", "items"), strict=True):
        if of_model is not of_ratings and not of_model.raw.equals(of_ratings.raw):
            raise DataError(f"rated has other {noun} than the model; give what this model's rated() returns")
    return found


def open_run_ratings(
    directory: Path, prepared: Path | None, *, config: Config, fingerprint: str, ids: tuple[IdMap, IdMap]
) -> RunRatings:
    """Open the ratings that the model of a run was trained on and validated by.

    They are looked for where they were during training; then, in case the run was moved, in the same
    place relative to the run.

    Args:
        directory: of the run, or of the model in it.
        prepared: where the prepared ratings are now, if they were moved.
        config: of the model.
        fingerprint: of the ratings that the model was trained on.
        ids: raw ids of the model's users and of its items.

    Raises:
        CofiError: the ratings are not there, or are not the model's.
    """
    run = directory if (directory / MODEL).is_dir() else directory.parent

    def opened(data: DataSection) -> Source:
        return _open_matching(data, run, fingerprint, ids)

    data = config.data
    if prepared is not None:
        if data.prepared is None:
            raise ConfigError(f"{directory}: was not trained on prepared ratings; leave --prepared out")
        return RunRatings(opened(data.model_copy(update={"prepared": str(prepared)})), ids)
    try:
        return RunRatings(opened(data), ids)
    except CofiError as error:
        why = error
    beside = config.moved_to(run).data
    if beside != data:
        with suppress(CofiError):
            note = f"{why}; taken from {beside.prepared or beside.y}, beside the run"
            return RunRatings(opened(beside), ids, note)
    commands = "evaluate, recommend and update"
    advice = f"; if they were moved, {commands} take --prepared DIR" if data.prepared else ""
    if not is_run(run) and (data.prepared or data.is_prepared_by_run):
        raise RunError(
            f"{directory}: this model has come without its ratings, which are not saved with it; name the"
            f" directory of its run{advice}"
        )
    raise type(why)(f"{why}{advice}")


def _open_matching(data: DataSection, run: Path, fingerprint: str, ids: tuple[IdMap, IdMap]) -> Source:
    """Open ratings, and check that the model was trained on them.

    Raises:
        CofiError: they are not there, or are not the model's.
    """
    # its imports take time, and not all that is done with a model needs ratings
    from cofi_dist.data.sources.open import open_source

    source = open_source(data, run / "data")
    # the sizes first: a model's config may name ratings of any size, and a fingerprint reads all of them
    is_as_large = (source.num_users, source.num_items) == tuple(map(len, ids))
    if not is_as_large or source.fingerprint() != fingerprint:
        where = data.prepared or data.y or run / "data"
        raise RunError(
            f"{where}: holds other ratings, or other splits of them, than the model was trained with;"
            " train it again"
        )
    if any(not a.raw.equals(b.raw) for a, b in zip(source.ids, ids, strict=True)):
        raise RunError(f"{run}: the model's ids are not those of its ratings; train it again")
    return source
