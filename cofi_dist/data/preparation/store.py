"""Prepared ratings: arrays that every rank maps and cuts for itself, and a manifest.

    manifest.json                      counts, columns, splits, centring, scale, fingerprint, notes
    users.parquet, items.parquet       the raw id of every row
    PART_user_start.npy                where each user's ratings begin, (num_users + 1,) int64
    PART_item.npy, PART_value.npy      in user order, then item order; PART: train, validation, test
    train_item_start.npy, train_user_by_item.npy, train_value_by_item.npy     the transposed order
    item_total.npy, item_count.npy     sum and number of every item's training ratings

Values are float32 where that holds every one of them exactly, else float64.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cofi_dist.config import Columns
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.data.item_means import ItemSums
from cofi_dist.data.preparation.npy_file import map_array
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.splits import PARTS, Part
from cofi_dist.errors import RunError
from cofi_dist.files.reading import Record, check_record, read_failure, read_json
from cofi_dist.sharding.ranges import UserRange

FORMAT = 2
Rows = Annotated[int, Field(ge=1, lt=2**31)]  # they are numbered in 32 bits
Finite = Annotated[float, Field(allow_inf_nan=False)]
MANIFEST, USERS, ITEMS = "manifest.json", "users.parquet", "items.parquet"


class StoredRatings:
    """A prepared directory, mapped.

    Attributes:
        directory: where it lies.
        manifest: as `prepare_file` wrote it.
        parts: `train`, and what is held out.
        scale: lowest and highest training rating.
        sums: of the training ratings, by item.
        centre: the centring and damping that it was prepared with.
        columns: of the file that it was prepared from.
        notes: what preparing it read, dropped and held out, in lines.
        ids: the users' and the items' raw ids.

    Raises:
        RunError: there is no such directory, as on a node that doesn't share the run directory; or one of its
            files is not what `prepare_file` wrote.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        said = self._manifest()
        self.parts: tuple[Part, ...] = tuple(part for part in PARTS if part in said.num_ratings)
        self.num_items, self.num_users = said.num_items, said.num_users
        self.scale = said.lowest, said.highest
        self.centre: tuple[str, float | None] = said.centre, said.damping
        self.columns, self.notes, self._fingerprint = said.columns, said.notes, said.fingerprint
        self.ids = (
            IdMap.load(directory / USERS, self.num_users),
            IdMap.load(directory / ITEMS, self.num_items),
        )
        if said.ids not in (None, digests(self.ids)):  # None: of an earlier build
            raise RunError(
                f"{directory}: {USERS} or {ITEMS} holds other ids than were prepared; prepare it again"
            )
        counts = said.num_ratings  # of arrays, which may be large: the ids bound them
        self._start = {part: self._starts(part, counts[part]) for part in self.parts}
        self._item = {part: self._map(f"{part}_item.npy", counts[part], np.int32) for part in self.parts}
        self._value = {
            part: self._map(f"{part}_value.npy", counts[part], np.float32, np.float64) for part in self.parts
        }
        self.sums = self._sums(counts["train"])

    def _manifest(self) -> "_Manifest":
        file = self.directory / MANIFEST
        with _refused(file):
            self.manifest: dict[str, Any] = read_json(file)
            if isinstance(self.manifest, dict) and self.manifest.get("format") != FORMAT:
                raise RunError(f"{self.directory}: was prepared by another version; prepare it again")
            said = check_record(self.manifest, _Manifest)
            if said.lowest > said.highest:
                raise ValueError(f"lowest, {said.lowest}, is above highest, {said.highest}")
            if not said.num_ratings.get("train"):
                raise ValueError("num_ratings says of no ratings to train on")
            return said

    def _map(self, name: str, length: int, *kinds: type[np.number[Any]]) -> NDArray[Any]:
        with _refused(self.directory / name):
            return map_array(self.directory / name, length, *kinds)

    def _starts(self, part: Part, count: int) -> NDArray[np.int64]:
        """Where each user's ratings of a part begin, and where the last one's end."""
        name = f"{part}_user_start.npy"
        starts = np.array(self._map(name, self.num_users + 1, np.int64))
        with _refused(self.directory / name):
            if starts[0] != 0 or starts[-1] != count or (starts[1:] < starts[:-1]).any():
                raise ValueError(f"does not cut {count:,} ratings into those of {self.num_users:,} users")
        return starts

    def _sums(self, count: int) -> ItemSums:
        total, counts = (
            np.array(self._map(f"item_{what}.npy", self.num_items, np.float64)) for what in ("total", "count")
        )
        with _refused(self.directory / "item_total.npy"):
            if not np.isfinite(total).all():
                raise ValueError("holds a sum of ratings that is not finite")
        with _refused(self.directory / "item_count.npy"):
            if not (counts >= 0).all() or counts.sum() != count:
                raise ValueError(
                    f"does not hold how the {count:,} training ratings are spread over the items"
                )
        return ItemSums(total, counts)

    def fingerprint(self) -> str:
        """Of ids, ratings and parts, as the manifest has it."""
        return self._fingerprint

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,), held-out ones among them."""
        counts: NDArray[np.int64] = np.sum([np.diff(self._start[part]) for part in self.parts], axis=0)
        return counts

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """This part of the ratings of these users; `user` counts from `users.start`.

        Raises:
            RunError: one of them is of no item, or no rating.
        """
        start = self._start[part][users.start : users.stop + 1]
        rows = slice(start[0], start[-1])
        user = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(start))
        item, value = np.array(self._item[part][rows]), np.array(self._value[part][rows])
        if len(item):
            self._check(part, item, value)
        return Ratings(user, item, value)

    def _check(self, part: Part, item: NDArray[np.int32], value: NDArray[np.floating]) -> None:
        with _refused(self.directory / f"{part}_item.npy"):
            lowest, highest = int(item.min()), int(item.max())
            if lowest < 0 or highest >= self.num_items:
                wrong = lowest if lowest < 0 else highest
                raise ValueError(f"holds the item {wrong}; there are {self.num_items:,}, from 0")
        with _refused(self.directory / f"{part}_value.npy"):
            ends = float(value.min()), float(value.max())  # both NaN if one of them is
            if not np.isfinite(ends).all():
                raise ValueError("holds a rating that is not finite")
            if part == "train" and not (self.scale[0] <= ends[0] and ends[1] <= self.scale[1]):
                raise ValueError(
                    f"holds ratings from {ends[0]:g} to {ends[1]:g}, and {MANIFEST} says from"
                    f" {self.scale[0]:g} to {self.scale[1]:g}"
                )


class _Manifest(Record):
    """What is read of manifest.json."""

    num_users: Rows
    num_items: Rows
    num_ratings: dict[Part, Annotated[int, Field(ge=0, le=2**53)]]
    columns: Columns
    centre: Literal["item_mean", "damped_item_mean", "global_mean", "none"]
    damping: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    lowest: Finite
    highest: Finite
    fingerprint: Annotated[str, Field(max_length=200)]
    notes: list[str]
    ids: dict[str, str] | None = None


@contextmanager
def _refused(file: Path) -> Iterator[None]:
    """Say what is wrong with a file, and what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{file}: {read_failure(error)}; are the prepared ratings whole, and on a file system that every"
            " node shares?"
        ) from None
    except ValueError as error:
        raise RunError(f"{file}: {error}; it is damaged: prepare the ratings again") from None
