"""Define what a source of ratings offers, before and after its held-out parts are chosen."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import ColumnNames, Feedback
from cofi_dist.data.ids import IdMap
from cofi_dist.data.item_means import ItemSums
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.splits import Part
from cofi_dist.sharding.ranges import UserRange


class UnsplitSource(Protocol):
    """Load the ratings of any range of users, out of num_users users on num_items items."""

    @property
    def num_users(self) -> int: ...

    @property
    def num_items(self) -> int: ...

    @property
    def feedback(self) -> Feedback:
        """Return whether the values are ratings, or the strengths of events."""
        ...

    @property
    def scale(self) -> tuple[float, float]:
        """Return the lowest and the highest rating that are possible; infinite if unknown, and for events."""
        ...

    @property
    def notes(self) -> list[str]:
        """Return lines about what is known of the ratings, and what was done to them."""
        ...

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Count each user's ratings, over all ranks' users and all parts: (num_users,)."""
        ...

    def load(self, users: UserRange) -> Ratings:
        """Load the ratings of these users; `user` counts from `users.start`."""
        ...

    def fingerprint(self) -> str:
        """Return a text that is equal for equal ratings, and for no others; may read all of them."""
        ...


class Source(UnsplitSource, Protocol):
    """Load any part of the ratings of any range of users."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return `train`, and the parts that are held out."""
        ...

    @property
    def ids(self) -> tuple[IdMap, IdMap]:
        """Return the users' and the items' raw ids; row numbers if the source has no ids."""
        ...

    @property
    def columns(self) -> ColumnNames:
        """Return the names of the columns that the ratings were read from."""
        ...

    @property
    def item_sums(self) -> ItemSums | None:
        """Return the sums over every item's training ratings; None if they are not known yet."""
        ...

    @property
    def centre(self) -> tuple[str, float | None]:
        """Return the centring and damping that apply if the config sets none."""
        ...

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """Load this part of the ratings of these users; `user` counts from `users.start`."""
        ...
