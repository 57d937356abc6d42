"""Choose the ratings that are held out: the same on any number of ranks and in any order of the file.

Random choices are hashes of (seed, part, user row, item row), not draws of a generator. So every rank can
split the ratings of its own users without knowing those of others.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import DataSection, SplitSection

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
SIGN_BIT = np.uint64(1 << 63)
# The first word of a hash is seed ^ salt. Seeds are below 2^63, and only validation sets the highest bit, so
# the hashes of one part with any seed differ from those of the other part with any seed.
PART_SALT: dict[Part, np.uint64] = {"test": np.uint64(2), "validation": SIGN_BIT}
Key = NDArray[np.float64] | NDArray[np.int64]


def held_out(data: DataSection) -> dict[Part, SplitSection]:
    """Return the splits that the config asks for, in the order in which they take their ratings."""
    splits: dict[Part, SplitSection | None] = {"test": data.test, "validation": data.validation}
    return {part: split for part, split in splits.items() if split is not None}


def assign_parts(
    user: NDArray[np.integer],
    item: NDArray[np.integer],
    splits: dict[Part, SplitSection],
    time: NDArray[np.float64] | None = None,
    cutoffs: dict[Part, float] | None = None,
    given: NDArray[np.int8] | None = None,
) -> NDArray[np.int8]:
    """Return the part of each rating, as an index into PARTS: (N,).

    Each part takes its ratings from those that the parts before it left. Splits by user leave every user
    at least one rating for training.

    Args:
        user: global row of each rating's user, (N,), ascending; with all ratings of each of these users.
        item: row of each rating's item, (N,).
        splits: as `held_out` returns them.
        time: time of each rating, (N,); needed by splits by `time` and `last`.
        cutoffs: for each split by `time`, the latest time that stays in training.
        given: part of each rating of a file of held-out ones, else 0, (N,); None if there are no such files.
    """
    part_N = np.zeros(len(user), np.int8) if given is None else given.copy()
    for part, split in splits.items():
        if split.by == "file":
            continue
        left = np.flatnonzero(part_N == 0)  # indices of the ratings that no part has taken yet
        key: Key
        if split.by == "time":
            assert time is not None
            assert cutoffs is not None
            taken = time[left] > cutoffs[part]
        elif split.by == "random":
            assert split.fraction is not None
            assert split.seed is not None
            taken = hash_uniform(split.seed, part, user[left], item[left]) < split.fraction
        else:
            if split.by == "last":
                assert time is not None
                key, count = time[left], split.n
            else:
                assert split.seed is not None
                key, count = hash_uniform(split.seed, part, user[left], item[left]), 1
            assert count is not None
            taken = _largest_per_user(user[left], key, count)
        part_N[left[taken]] = PARTS.index(part)
    return part_N


def hash_uniform(
    seed: int, part: Part, user: NDArray[np.integer], item: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Hash seed, part, user and item of each rating to a number that is uniform on [0, 1).

    The words are absorbed one after the other, each followed by a round of splitmix64 (Steele, Lea and Flood,
    2014, "Fast splittable pseudorandom number generators").
    """
    state = np.full(len(user), seed, np.uint64)
    for word in (PART_SALT[part], user.astype(np.uint64), item.astype(np.uint64)):
        state = splitmix64(state ^ word)
    uniform: NDArray[np.float64] = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform


def splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply one round of splitmix64."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _largest_per_user(user: NDArray[np.integer], key: Key, count: int) -> NDArray[np.bool_]:
    """Mark each user's `count` ratings of largest key, for users with more than `count` ratings: (N,)."""
    order = np.lexsort((key, user))
    start = np.searchsorted(user[order], user[order], side="left")  # of the user's ratings in `order`
    stop = np.searchsorted(user[order], user[order], side="right")
    is_last = (stop - np.arange(len(user)) <= count) & (stop - start > count)
    taken = np.zeros(len(user), np.bool_)
    taken[order[is_last]] = True
    return taken
