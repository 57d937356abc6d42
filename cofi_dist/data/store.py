"""Prepared ratings: arrays that every rank maps and cuts for itself, and a manifest.

    manifest.json                      counts, columns, splits, centring, scale, fingerprint, notes
    users.parquet, items.parquet       the raw id of every row
    PART_user_start.npy                where each user's ratings begin, (num_users + 1,) int64
    PART_item.npy, PART_value.npy      in user order, then item order; PART: train, validation, test
    train_item_start.npy, train_user_by_item.npy, train_value_by_item.npy     the transposed order
    item_total.npy, item_count.npy     sum and number of every item's training ratings

Values are float32 where that holds every one of them exactly, else float64.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Columns
from cofi_dist.data.centre import ItemSums
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.data.shards import UserRange
from cofi_dist.data.split import PARTS, Part
from cofi_dist.data.triples import Ratings
from cofi_dist.errors import RunError

FORMAT = 2
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
        RunError: there is no such directory, as on a node that doesn't share the run directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            self.manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text())
            said = self.manifest
            if said["format"] != FORMAT:
                raise RunError(f"{directory}: was prepared by another version; prepare it again")
            self.parts: tuple[Part, ...] = tuple(p for p in PARTS if p in said["num_ratings"])
            self.num_items, self.num_users = int(said["num_items"]), int(said["num_users"])
            self.scale: tuple[float, float] = (said["lowest"], said["highest"])
            self.centre: tuple[str, float | None] = (said["centre"], said["damping"])
            self.columns = Columns(**said["columns"])
            self.notes: list[str] = said["notes"]
            self._fingerprint: str = said["fingerprint"]
            self._start = {part: np.load(directory / f"{part}_user_start.npy") for part in self.parts}
            self._item, self._value = (
                {part: np.load(directory / f"{part}_{what}.npy", mmap_mode="r") for part in self.parts}
                for what in ("item", "value")
            )
            self.sums: ItemSums = ItemSums(
                np.load(directory / "item_total.npy"), np.load(directory / "item_count.npy")
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{directory}: prepared ratings cannot be read ({error}); is it whole, and on a file"
                " system that every node shares?"
            ) from None
        self.ids = (
            IdMap.load(directory / USERS, self.num_users),
            IdMap.load(directory / ITEMS, self.num_items),
        )
        if said.get("ids") not in (None, digests(self.ids)):  # None: of an earlier build
            raise RunError(
                f"{directory}: {USERS} or {ITEMS} holds other ids than were prepared; prepare it again"
            )

    def fingerprint(self) -> str:
        """Of ids, ratings and parts, as the manifest has it."""
        return self._fingerprint

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,), held-out ones among them."""
        counts: NDArray[np.int64] = np.sum([np.diff(self._start[part]) for part in self.parts], axis=0)
        return counts

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """This part of the ratings of these users; `user` counts from `users.start`."""
        start = self._start[part][users.start : users.stop + 1]
        rows = slice(start[0], start[-1])
        user = np.repeat(np.arange(len(users), dtype=np.int32), np.diff(start))
        return Ratings(user, np.array(self._item[part][rows]), np.array(self._value[part][rows]))
