"""The prepared ratings of a run: arrays in user order that every rank maps and cuts for itself."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shards import UserRange, starts
from cofi_dist.data.split import Part
from cofi_dist.errors import RunError
from cofi_dist.files import whole_directory

FORMAT = 1


def write_store(directory: Path, ratings: Ratings, users: IdMap, items: IdMap) -> None:
    """Write the ratings and their ids; the directory appears whole or not at all.

    Raises:
        RunError: the directory exists or can't be written.
    """
    counts = np.bincount(ratings.user, minlength=len(users))
    with whole_directory(directory) as temporary:
        np.save(temporary / "user_start.npy", starts(counts))
        np.save(temporary / "item.npy", ratings.item)
        np.save(temporary / "value.npy", ratings.value)
        users.save(temporary / "users.parquet")
        items.save(temporary / "items.parquet")
        manifest = {
            "format": FORMAT,
            "num_users": len(users),
            "num_items": len(items),
            "num_ratings": len(ratings),
        }
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


class StoredRatings:
    """What `write_store` wrote, mapped.

    Raises:
        RunError: there is no such directory, as on a node that doesn't share the run directory.
    """

    def __init__(self, directory: Path) -> None:
        try:
            manifest = json.loads((directory / "manifest.json").read_text())
            self._start = np.load(directory / "user_start.npy")
            self._item = np.load(directory / "item.npy", mmap_mode="r")
            self._value = np.load(directory / "value.npy", mmap_mode="r")
        except (OSError, ValueError) as error:
            raise RunError(
                f"{directory}: prepared ratings cannot be read ({error}); run_dir must lie on a file"
                " system that every node shares"
            ) from None
        self.num_items, self.num_users = manifest["num_items"], manifest["num_users"]
        self.parts: tuple[Part, ...] = ("train",)
        self.scale = (float(self._value.min()), float(self._value.max()))
        self.ids = IdMap.load(directory / "users.parquet"), IdMap.load(directory / "items.parquet")

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,)."""
        counts: NDArray[np.int64] = np.diff(self._start)
        return counts

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """The ratings of these users; `user` counts from `users.start`."""
        rows = slice(self._start[users.start], self._start[users.stop])
        counts = np.diff(self._start[users.start : users.stop + 1])
        user = np.repeat(np.arange(len(users), dtype=np.int32), counts)
        return Ratings(user, np.array(self._item[rows]), np.array(self._value[rows]))
