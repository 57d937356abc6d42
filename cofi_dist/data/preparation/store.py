"""Open prepared ratings: arrays, of which every rank maps its own users' part, and a manifest.

    manifest.json                      counts, columns, splits, centring, scale, fingerprint, notes
    users.parquet, items.parquet       the raw id of every row
    PART_user_start.npy                where each user's ratings start, (num_users + 1,) int64
    PART_item.npy, PART_value.npy      in user order, then item order; PART: train, validation, test
    PART_weight.npy                    the ratings' weights, unless all of the part are 1
    train_item_start.npy, train_user_by_item.npy, train_value_by_item.npy     in item order, then user order
    train_weight_by_item.npy           the same of the weights, if there is train_weight.npy
    item_total.npy, item_count.npy     weighted sum and number of every item's training ratings
    item_weight.npy                    sum of their weights, if there is train_weight.npy

Values, which are ratings or strengths of events, are float32 if float32 holds all of them exactly, else
float64; so are weights.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cofi_dist.config import ColumnNames, DuplicateRule, Feedback
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.data.item_means import ItemSums
from cofi_dist.data.preparation.npy_file import map_array
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.splits import PARTS, Part
from cofi_dist.errors import RunError
from cofi_dist.files.reading import read_failure, read_json
from cofi_dist.files.records import Record, check_record
from cofi_dist.sharding.ranges import UserRange

FORMAT = 2
RowCount = Annotated[int, Field(ge=1, lt=2**31)]  # rows are numbered in 32 bits
Finite = Annotated[float, Field(allow_inf_nan=False)]
MANIFEST, USERS, ITEMS = "manifest.json", "users.parquet", "items.parquet"


class StoredRatings:
    """Map a directory of prepared ratings into memory: a `Source`.

    Attributes:
        directory: the directory.
        manifest: its manifest, as `prepare` wrote it.
        parts: `train`, and the parts that are held out.
        feedback: whether they are ratings or events.
        scale: lowest and highest training rating; infinite for events, whose scores have no bounds.
        item_sums: sum and number of every item's training ratings.
        centre: the centring and damping that the ratings were prepared with.
        columns: of the file that they were prepared from.
        duplicates: the rule for pairs that are in a file twice; None if an earlier version prepared it.
        notes: lines about what was read, dropped and held out.
        ids: the users' and the items' raw ids.

    Raises:
        RunError: there is no such directory, as on a node that does not share the run directory; or one of
            its files is not what `prepare` wrote.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        manifest = self._read_manifest()
        counts = manifest.num_ratings
        self.parts: tuple[Part, ...] = tuple(part for part in PARTS if part in counts)
        self.num_items, self.num_users = manifest.num_items, manifest.num_users
        self.feedback, self._bounds = manifest.feedback, (manifest.lowest, manifest.highest)
        self.scale = self._bounds if self.feedback == "explicit" else (-math.inf, math.inf)
        self.centre: tuple[str, float | None] = manifest.centre, manifest.damping
        self.columns, self.notes, self._fingerprint = manifest.columns, manifest.notes, manifest.fingerprint
        self.duplicates = manifest.duplicates
        # the ids first: that there are so many bounds the sizes of the arrays, which are mapped next
        self.ids = (
            IdMap.load(directory / USERS, self.num_users),
            IdMap.load(directory / ITEMS, self.num_items),
        )
        if manifest.ids not in (None, digests(self.ids)):  # earlier versions wrote none
            raise RunError(
                f"{directory}: {USERS} or {ITEMS} holds other ids than were prepared; prepare it again"
            )
        self._offsets = {part: self._user_offsets(part, counts[part]) for part in self.parts}
        self._item = {part: self._map(f"{part}_item.npy", counts[part], np.int32) for part in self.parts}
        self._value = {
            part: self._map(f"{part}_value.npy", counts[part], np.float32, np.float64) for part in self.parts
        }
        self._weight = {
            part: self._map(f"{part}_weight.npy", counts[part], np.float32, np.float64)
            for part in manifest.weighted
        }
        for part in set(self.parts) - set(manifest.weighted):
            if (directory / f"{part}_weight.npy").exists():
                raise RunError(
                    f"{directory}: {MANIFEST} does not name the weights of {part}; prepare it again"
                )
        self.item_sums = self._item_sums(counts["train"])

    def _read_manifest(self) -> "_Manifest":
        file = self.directory / MANIFEST
        with _faults_named(file):
            self.manifest: dict[str, Any] = read_json(file)
            if isinstance(self.manifest, dict) and self.manifest.get("format") != FORMAT:
                raise RunError(f"{self.directory}: was prepared by another version; prepare it again")
            checked = check_record(self.manifest, _Manifest)
            if checked.lowest > checked.highest:
                raise ValueError(f"lowest, {checked.lowest}, is above highest, {checked.highest}")
            if not set(checked.weighted) <= set(checked.num_ratings):
                raise ValueError("weighted names parts that num_ratings does not")
            if not checked.num_ratings.get("train"):
                raise ValueError("num_ratings says of no ratings to train on")
            return checked

    def _map(self, name: str, length: int, *dtypes: type[np.number[Any]]) -> NDArray[Any]:
        with _faults_named(self.directory / name):
            return map_array(self.directory / name, length, *dtypes)

    def _user_offsets(self, part: Part, count: int) -> NDArray[np.int64]:
        """Read where each user's ratings of a part start, and where the last user's stop."""
        name = f"{part}_user_start.npy"
        offsets = np.array(self._map(name, self.num_users + 1, np.int64))
        with _faults_named(self.directory / name):
            if offsets[0] != 0 or offsets[-1] != count or (offsets[1:] < offsets[:-1]).any():
                raise ValueError(f"does not cut {count:,} ratings into those of {self.num_users:,} users")
        return offsets

    def _item_sums(self, num_ratings: int) -> ItemSums:
        total, counts = (
            np.array(self._map(f"item_{what}.npy", self.num_items, np.float64)) for what in ("total", "count")
        )
        with _faults_named(self.directory / "item_total.npy"):
            if not np.isfinite(total).all():
                raise ValueError("holds a sum of ratings that is not finite")
        with _faults_named(self.directory / "item_count.npy"):
            if not (counts >= 0).all() or counts.sum() != num_ratings:
                raise ValueError(
                    f"does not hold how the {num_ratings:,} training ratings are spread over the items"
                )
        if "train" not in self._weight:
            return ItemSums(total, counts)
        weight = np.array(self._map("item_weight.npy", self.num_items, np.float64))
        with _faults_named(self.directory / "item_weight.npy"):
            if not np.isfinite(weight).all() or not ((weight > 0) == (counts > 0)).all() or weight.min() < 0:
                raise ValueError("does not hold the sums of the training ratings' weights")
        return ItemSums(total, counts, weight)

    def fingerprint(self) -> str:
        """Return the hash of ids, ratings and parts that the manifest holds."""
        return self._fingerprint

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Count each user's ratings, held-out ones included: (num_users,)."""
        counts: NDArray[np.int64] = np.sum([np.diff(self._offsets[part]) for part in self.parts], axis=0)
        return counts

    def training_ratings_per_user(self) -> NDArray[np.int64]:
        """Count each user's training ratings: (num_users,)."""
        return np.diff(self._offsets["train"])

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """Load this part of the ratings of these users; `user` counts from `users.start`.

        Raises:
            RunError: the files hold an item or a value that cannot be.
        """
        offsets = self._offsets[part][users.start : users.stop + 1]
        rows = slice(offsets[0], offsets[-1])
        user = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(offsets))
        item, value = np.array(self._item[part][rows]), np.array(self._value[part][rows])
        weight = np.array(self._weight[part][rows]) if part in self._weight else None
        if len(item):
            self._check(part, item, value)
        if weight is not None:
            self._check_positive(f"{part}_weight.npy", weight)
        if self.feedback == "implicit":
            self._check_positive(f"{part}_value.npy", value)
        return Ratings(user, item, value, weight)

    def load_by_item(self, items: UserRange) -> tuple[NDArray[np.int64], Ratings]:
        """Load the training ratings of these items, item by item, then in the order of users.

        Returns:
            Where each item's ratings start, and where the last item's end, (items + 1,); and the ratings,
            whose `item` counts from `items.start`.

        Raises:
            RunError: the files hold a user or a value that cannot be.
        """
        count = int(self.item_sums.count.sum())
        name = "train_item_start.npy"
        starts = self._map(name, self.num_items + 1, np.int64)
        offsets = np.array(starts[items.start : items.stop + 1])
        with _faults_named(self.directory / name):
            if (np.diff(offsets) != self.item_sums.count[items.start : items.stop]).any() or starts[0] != 0:
                raise ValueError("does not cut the training ratings into those of the items")
        names = ("user", "value", "weight") if "train" in self._weight else ("user", "value")
        columns = {}
        for name in names:
            types = (np.int32,) if name == "user" else (np.float32, np.float64)
            column = self._map(f"train_{name}_by_item.npy", count, *types)
            columns[name] = np.array(column[offsets[0] : offsets[-1]])
        user = columns["user"]
        with _faults_named(self.directory / "train_user_by_item.npy"):
            if len(user) and not (user.min() >= 0 and user.max() < self.num_users):
                raise ValueError(f"holds a user that is not one of the {self.num_users:,}, from 0")
        item = np.repeat(np.arange(len(items), dtype=np.int32), np.diff(offsets))
        self._check_values("train", columns["value"], "train_value_by_item.npy")
        if "weight" in columns:
            self._check_positive("train_weight_by_item.npy", columns["weight"])
        return offsets - offsets[0], Ratings(user, item, columns["value"], columns.get("weight"))

    def _check_positive(self, name: str, values: NDArray[np.floating]) -> None:
        with _faults_named(self.directory / name):
            if not (np.isfinite(values) & (values > 0)).all():
                raise ValueError("holds a number that is not finite or not above 0")

    def _check(self, part: Part, item: NDArray[np.int32], value: NDArray[np.floating]) -> None:
        with _faults_named(self.directory / f"{part}_item.npy"):
            lowest, highest = int(item.min()), int(item.max())
            if lowest < 0 or highest >= self.num_items:
                wrong = lowest if lowest < 0 else highest
                raise ValueError(f"holds the item {wrong}; there are {self.num_items:,}, from 0")
        self._check_values(part, value, f"{part}_value.npy")

    def _check_values(self, part: Part, value: NDArray[np.floating], name: str) -> None:
        if not len(value):
            return
        with _faults_named(self.directory / name):
            ends = float(value.min()), float(value.max())  # both NaN if one of the values is
            if not np.isfinite(ends).all():
                raise ValueError("holds a rating that is not finite")
            if part == "train" and not (self._bounds[0] <= ends[0] and ends[1] <= self._bounds[1]):
                raise ValueError(
                    f"holds ratings from {ends[0]:g} to {ends[1]:g}, and {MANIFEST} says from"
                    f" {self._bounds[0]:g} to {self._bounds[1]:g}"
                )


class _Manifest(Record):
    """Check the fields of manifest.json that are read."""

    num_users: RowCount
    num_items: RowCount
    num_ratings: dict[Part, Annotated[int, Field(ge=0, le=2**53)]]
    feedback: Feedback = "explicit"  # earlier versions wrote none
    weighted: list[Part] = Field(default_factory=list, max_length=len(PARTS))
    columns: ColumnNames
    centre: Literal["item_mean", "damped_item_mean", "global_mean", "none"]
    damping: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    lowest: Finite
    highest: Finite
    fingerprint: Annotated[str, Field(max_length=200)]
    notes: list[str]
    ids: dict[str, str] | None = None
    duplicates: DuplicateRule | None = None


@contextmanager
def _faults_named(file: Path) -> Iterator[None]:
    """Turn an OSError or ValueError into a RunError that names the file and says what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{file}: {read_failure(error)}; are the prepared ratings whole, and on a file system that every"
            " node shares?"
        ) from None
    except ValueError as error:
        raise RunError(f"{file}: {error}; it is damaged: prepare the ratings again") from None
