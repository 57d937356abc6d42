"""Cut users into contiguous ranges with about equally many ratings."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class UserRange:
    """Name the users start <= j < stop, where j is a row of the whole data set."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def offsets_from_counts(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where each row's entries start, and last where they all end: (rows,) -> (rows + 1,).

    This is the `indptr` of a CSR matrix whose rows have `counts` entries.
    """
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def balanced_ranges(ratings_per_user: NDArray[np.int64], parts: int) -> list[UserRange]:
    """Cut the users into contiguous ranges with about equally many ratings.

    Each cut lies at the user boundary nearest to an equal share, so no range exceeds the
    equal share by more than one user's ratings. Ranges may be empty.

    Args:
        ratings_per_user: (num_users,).
        parts: number of ranges.
    """
    offsets = offsets_from_counts(ratings_per_user)
    shares = offsets[-1] * np.arange(1, parts) / parts
    above = np.searchsorted(offsets, shares)
    below = np.maximum(above - 1, 0)
    cuts = np.where(shares - offsets[below] < offsets[above] - shares, below, above)
    bounds = [0, *cuts.tolist(), len(ratings_per_user)]
    return [UserRange(start, stop) for start, stop in pairwise(bounds)]


def ratings_per_range(ranges: Sequence[UserRange], ratings_per_user: NDArray[np.int64]) -> list[int]:
    """Count the ratings of each range of users."""
    offsets = offsets_from_counts(ratings_per_user)
    return [int(offsets[users.stop] - offsets[users.start]) for users in ranges]
