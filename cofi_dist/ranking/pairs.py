"""Hold pairs of users and items in a batch of users."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class UserItemPairs:
    """Hold the user and the item row of each of some pairs, in a batch of U users and M items."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]

    def isin(self, others: "UserItemPairs", num_items: int) -> NDArray[np.bool_]:
        """Tell for each pair whether it is one of the others."""
        return np.isin(self.user * num_items + self.item, others.user * num_items + others.item)

    def masked(self, mask: NDArray[np.bool_]) -> "UserItemPairs":
        """Return the pairs whose mask is set."""
        return UserItemPairs(self.user[mask], self.item[mask])
