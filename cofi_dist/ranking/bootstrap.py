"""Estimate how much a figure depends on which users happen to be in the data, by the Poisson bootstrap.

In each replicate, every user counts as often as a number drawn from the Poisson distribution of mean 1 says
(Hanley and MacGibbon 2006, "Creating non-parametric bootstrap samples using Poisson frequencies"). So a
replicate is a weighted sum over users, to which each batch adds its part: no figure of a user is kept.
A user's weights are hashes of the user's row, so they are the same on any number of ranks.
"""

import math

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.splits import splitmix64

# V users of a batch.

REPLICATES = 1000
LEVEL = 0.95
SEED = np.uint64(0x626F6F74)  # "boot"; any fixed number

# The ranks' sums are added in an order that depends on their number. Rounding to this many significant digits
# hides it.
DIGITS = 6

Interval = tuple[float, float]


def _poisson_table() -> NDArray[np.uint8]:
    """Return the number that each of the 2^16 equally likely values of a hash stands for."""
    chance = np.array([math.exp(-1) / math.factorial(n) for n in range(9)])
    return np.repeat(
        np.arange(9, dtype=np.uint8), np.diff(np.rint(np.cumsum(chance) * 2**16), prepend=0).astype(int)
    )


TABLE = _poisson_table()


def poisson_weights(users: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how often each user counts in each replicate, (V, REPLICATES).

    Args:
        users: rows of W, (V,).
    """
    words = np.arange(REPLICATES // 4, dtype=np.uint64)  # each of them gives four weights
    of_user = splitmix64(np.full(len(users), SEED) ^ users.astype(np.uint64))
    # Another byte order only gives the replicates another order, which no figure shows.
    return TABLE[splitmix64(of_user[:, None] ^ words).view(np.uint16)].astype(np.float64)


def replicate_sums(users: NDArray[np.int64], numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over a batch of users of each of their numbers, (REPLICATES, numbers).

    Args:
        users: rows of W, (V,).
        numbers: of each user, (V, numbers).
    """
    sums: NDArray[np.float64] = poisson_weights(users).T @ numbers
    return sums


def interval(replicates: NDArray[np.float64]) -> Interval | None:
    """Return the limits between which the middle 95 % of the replicates of a figure lie.

    Args:
        replicates: of a figure, (REPLICATES,); nan if no user of the replicate has one.

    Returns:
        None if there is no figure.
    """
    known = replicates[np.isfinite(replicates)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return _rounded(low), _rounded(high)


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
