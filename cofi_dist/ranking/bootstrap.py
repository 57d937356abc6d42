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
USERS_AT_ONCE = 256  # so few that their hashes and weights stay in cache, and threads seldom wait for Python
REPLICATES_AT_ONCE = 250  # so few that a product starts no threads: several are computed at once

# The ranks' sums are added in an order that depends on their number. Rounding to this many significant digits
# hides it.
DIGITS = 6

Interval = tuple[float, float]


def _poisson_steps() -> NDArray[np.uint16]:
    """Return the least of the 2^16 equally likely values of a hash that stand for 1, 2, ... 8."""
    chance = [math.exp(-1) / math.factorial(number) for number in range(8)]
    steps: NDArray[np.uint16] = np.rint(np.cumsum(chance) * 2**16).astype(np.uint16)
    return steps


STEPS = _poisson_steps()


def poisson_weights(users: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return how often each user counts in each replicate, (V, REPLICATES).

    Args:
        users: rows of W, (V,).
    """
    words = np.arange(REPLICATES // 4, dtype=np.uint64)  # each of them gives four weights
    of_user = splitmix64(np.full(len(users), SEED) ^ users.astype(np.uint64))
    # Another byte order only gives the replicates another order, which no figure shows.
    hashes = splitmix64(of_user[:, None] ^ words).view(np.uint16)
    weights = np.zeros(hashes.shape, np.uint8)
    for step in STEPS:  # comparisons take half the time that a table of all values would
        weights += (hashes >= step).view(np.uint8)
    return weights


def replicate_sums(users: NDArray[np.int64], numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum over a batch of users of each of their numbers, (REPLICATES, numbers).

    Args:
        users: rows of W, (V,).
        numbers: of each user, (V, numbers).
    """
    sums = np.zeros((numbers.shape[1], REPLICATES))
    for start in range(0, len(users), USERS_AT_ONCE):
        some = slice(start, start + USERS_AT_ONCE)
        weights = poisson_weights(users[some])
        for of in range(0, REPLICATES, REPLICATES_AT_ONCE):
            part = slice(of, of + REPLICATES_AT_ONCE)
            sums[:, part] += numbers[some].T @ weights[:, part].astype(np.float64)
    return sums.T


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
