"""Hold ratings in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 2**31 - 1  # users, and items: their rows are numbered in int32
# What is said of ratings that are all equal.
EQUAL_RATINGS = (
    "nothing can be learnt from equal ratings; if they are events, such as clicks, set data.feedback:"
    " implicit"
)


@dataclass(frozen=True)
class Ratings:
    """Hold N ratings, sorted by user, then item, without duplicate (user, item) pairs.

    Attributes:
        user: row of W, (N,) int32, counted from the first user of the range that was loaded.
        item: row of X, (N,) int32.
        value: the rating, or the strength of the event, (N,) float64, or float32 if that holds all of them
            exactly.
        weight: the weight of each rating, (N,), of the same types; None if all are 1.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    value: NDArray[np.floating]
    weight: NDArray[np.floating] | None = None

    def __len__(self) -> int:
        return len(self.value)

    def masked(self, mask: NDArray[np.bool_]) -> "Ratings":
        """Return the ratings whose mask is set."""
        weight = None if self.weight is None else self.weight[mask]
        return Ratings(self.user[mask], self.item[mask], self.value[mask], weight)
