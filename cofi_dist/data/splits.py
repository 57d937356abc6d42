"""Held-out ratings: which ones, the same at any world size and in any order of the file.

Chance is a hash of (seed, part, user row, item row), so that any rank can tell for its own users
without a file and without having drawn for the others.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Data, Split

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
SIGN_BIT = np.uint64(1 << 63)
# Seeds are below 2**63, so no seed of one part makes the draws of any seed of the other.
PART_SALT: dict[Part, np.uint64] = {"test": np.uint64(2), "validation": SIGN_BIT}
Key = NDArray[np.float64] | NDArray[np.int64]


def held_out(data: Data) -> dict[Part, Split]:
    """The splits that the config asks for, in the order in which they take their ratings."""
    wanted: dict[Part, Split | None] = {"test": data.test, "validation": data.validation}
    return {part: split for part, split in wanted.items() if split is not None}


def assign_parts(
    user: NDArray[np.integer],
    item: NDArray[np.integer],
    splits: dict[Part, Split],
    time: NDArray[np.float64] | None = None,
    cutoffs: dict[Part, float] | None = None,
) -> NDArray[np.int8]:
    """The part of each rating: its place in PARTS.

    A part takes its ratings from those that the parts before it left. A user keeps at least one
    rating for training where ratings are held out by user.

    Args:
        user: global rows, (N,), ascending; all ratings of every user in it.
        item: (N,).
        splits: as `held_out` gives them.
        time: when each rating was given, (N,); for splits that need it.
        cutoffs: for a split by time, the latest time that stays in training.
    """
    part_N = np.zeros(len(user), np.int8)
    for part, split in splits.items():
        free = np.flatnonzero(part_N == 0)
        key: Key
        if split.by == "time":
            assert time is not None
            assert cutoffs is not None
            taken = time[free] > cutoffs[part]
        elif split.by == "random":
            assert split.fraction is not None
            assert split.seed is not None
            taken = hash_uniform(split.seed, part, user[free], item[free]) < split.fraction
        else:
            if split.by == "last":
                assert time is not None
                key, count = time[free], split.n
            else:
                assert split.seed is not None
                key, count = hash_uniform(split.seed, part, user[free], item[free]), 1
            assert count is not None
            taken = _largest(user[free], key, count)
        part_N[free[taken]] = PARTS.index(part)
    return part_N


def hash_uniform(
    seed: int, part: Part, user: NDArray[np.integer], item: NDArray[np.integer]
) -> NDArray[np.float64]:
    """A number of [0, 1) for each rating, by splitmix64's finaliser over seed, part, user and item."""
    state = np.full(len(user), seed, np.uint64)
    for word in (PART_SALT[part], user.astype(np.uint64), item.astype(np.uint64)):
        state = _splitmix64(state ^ word)
    uniform: NDArray[np.float64] = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _largest(user: NDArray[np.integer], key: Key, count: int) -> NDArray[np.bool_]:
    """Of each user with more than `count` ratings, the `count` with the largest key."""
    order = np.lexsort((key, user))
    ends = np.searchsorted(user[order], user[order], side="right")
    starts = np.searchsorted(user[order], user[order], side="left")
    last = (ends - np.arange(len(user)) <= count) & (ends - starts > count)
    taken = np.zeros(len(user), np.bool_)
    taken[order[last]] = True
    return taken
