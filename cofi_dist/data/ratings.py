"""Ratings in memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 2**31 - 1  # of users and of items: rows are numbered in int32


@dataclass(frozen=True)
class Ratings:
    """N ratings in user order, then item order; no (user, item) pair twice.

    Attributes:
        user: row of W, (N,) int32; rows count from the first user of the range loaded.
        item: row of X, (N,) int32.
        value: rating, (N,) float64, or float32 where that holds each of them exactly.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    value: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.value)
