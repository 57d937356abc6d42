"""What every source of ratings offers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Columns
from cofi_dist.data.ids import IdMap
from cofi_dist.data.item_means import ItemSums
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.splits import Part
from cofi_dist.sharding.ranges import UserRange


class UnsplitSource(Protocol):
    """All ratings of num_users users on num_items items, of which any user range can be loaded."""

    @property
    def num_users(self) -> int: ...

    @property
    def num_items(self) -> int: ...

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest rating there may be; infinite where unknown."""
        ...

    @property
    def notes(self) -> list[str]:
        """What is known of the ratings, and was done to them, in lines."""
        ...

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,), over all ranks' users and all parts."""
        ...

    def load(self, users: UserRange) -> Ratings:
        """The ratings of these users; `user` counts from `users.start`."""
        ...

    def fingerprint(self) -> str:
        """Of all that is here; may read all of it. Equal content gives the same."""
        ...


class Source(UnsplitSource, Protocol):
    """Ratings of which any user range can be loaded, part by part."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """`train`, and what is held out."""
        ...

    @property
    def ids(self) -> tuple[IdMap, IdMap]:
        """The users' and the items' raw ids; row numbers where the source has none."""
        ...

    @property
    def columns(self) -> Columns:
        """Names of the columns that the ratings were read from."""
        ...

    @property
    def sums(self) -> ItemSums | None:
        """Of the training ratings, by item; None where they are yet to be added up."""
        ...

    @property
    def centre(self) -> tuple[str, float | None]:
        """The centring and damping that hold where the config says nothing."""
        ...

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """This part of the ratings of these users; `user` counts from `users.start`."""
        ...
