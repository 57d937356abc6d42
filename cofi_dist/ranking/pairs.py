"""Hold pairs of users and items in a batch of users."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class UserItemPairs:
    """Hold the user and the item row of each of some pairs, in a batch of U users and M items."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]

    @classmethod
    def none(cls) -> Self:
        """Return no pairs."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64))

    @classmethod
    def joined(cls, *parts: "UserItemPairs") -> Self:
        """Return all pairs of some parts, one part after the other."""
        return cls(np.concatenate([p.user for p in parts]), np.concatenate([p.item for p in parts]))

    @classmethod
    def of_rows(cls, start: NDArray[np.int64], count: NDArray[np.int64], item: NDArray[np.integer]) -> Self:
        """Return the entries of some rows of a CSR matrix; `user` is the place of a row among them.

        Args:
            start: where each row's entries begin in `item`.
            count: entries of each row.
            item: of all entries.
        """
        user = np.repeat(np.arange(len(start)), count)
        entry = np.arange(len(user)) + np.repeat(start - (np.cumsum(count) - count), count)
        return cls(user, item[entry].astype(np.int64, copy=False))

    def isin(self, others: "UserItemPairs", num_items: int) -> NDArray[np.bool_]:
        """Tell for each pair whether it is one of the others; fastest if those are in order."""
        wanted, among = self._keys(num_items), others._keys(num_items)
        if (among[1:] < among[:-1]).any():
            among.sort()
        place = np.searchsorted(among, wanted)
        is_among = place < len(among)
        is_among[is_among] = among[place[is_among]] == wanted[is_among]
        return is_among

    def masked(self, mask: NDArray[np.bool_]) -> "UserItemPairs":
        """Return the pairs whose mask is set."""
        return UserItemPairs(self.user[mask], self.item[mask])

    def _keys(self, num_items: int) -> NDArray[np.int64]:
        return self.user * num_items + self.item
