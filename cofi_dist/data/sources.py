"""Where the ratings come from: one interface over the file, the notebook's arrays and the seed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Data
from cofi_dist.data.arrays import ArrayRatings
from cofi_dist.data.ids import IdMap
from cofi_dist.data.ratings import Ratings, read_ratings
from cofi_dist.data.shards import UserRange
from cofi_dist.data.split import Part, SplitRatings, held_out
from cofi_dist.data.store import StoredRatings, write_store
from cofi_dist.data.synthetic import SyntheticRatings


class Source(Protocol):
    """Ratings of num_users users on num_items items, of which any user range can be loaded."""

    @property
    def num_users(self) -> int: ...

    @property
    def num_items(self) -> int: ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """`train`, and what is held out."""
        ...

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest rating there may be; infinite where unknown."""
        ...

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,), over all ranks' users and all parts."""
        ...

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """This part of the ratings of these users; `user` counts from `users.start`."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A source that was checked.

    Attributes:
        num_items: rows of X.
        ratings_per_user: (num_users,).
        write: given the store's directory, writes it; does nothing for a source that needs none.
    """

    num_items: int
    ratings_per_user: NDArray[np.int64]
    write: Callable[[Path], None]


def prepare(data: Data) -> Prepared:
    """Check the source to its last rating; read it if it is a file. Writes nothing.

    Called on one rank, which then has the result write the store that all ranks open.

    Raises:
        DataError: the file, the line or the cell, and what is wrong.
    """
    if data.ratings is None:
        if data.y is not None and data.r is not None:
            ArrayRatings(Path(data.y), Path(data.r)).check_values()
        source = open_source(data, Path())
        return Prepared(source.num_items, source.ratings_per_user(), lambda directory: None)
    columns = (data.columns.user, data.columns.item, data.columns.rating)
    ratings, users, items = read_ratings(Path(data.ratings), columns)
    per_user = np.bincount(ratings.user, minlength=len(users)).astype(np.int64)
    return Prepared(len(items), per_user, lambda directory: write_store(directory, ratings, users, items))


def open_source(data: Data, store: Path) -> Source:
    """The source that the config names; a ratings file as `prepare` left it in `store`."""
    if data.synthetic is not None:
        made_up = data.synthetic
        whole = SyntheticRatings(made_up.num_users, made_up.num_items, made_up.num_ratings, made_up.seed)
        return SplitRatings(whole, held_out(data))
    if data.y is not None and data.r is not None:
        return SplitRatings(ArrayRatings(Path(data.y), Path(data.r)), held_out(data))
    return StoredRatings(store)


def ids_of(source: Source) -> tuple[IdMap, IdMap]:
    """The users' and the items' raw ids; row numbers where the source has none."""
    if isinstance(source, StoredRatings):
        return source.ids
    return IdMap.rows(source.num_users), IdMap.rows(source.num_items)
