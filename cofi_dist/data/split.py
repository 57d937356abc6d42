"""Held-out ratings: which ones, the same at any world size and in any order of the file.

Chance is a hash of (seed, part, user row, item row), so that any rank can tell for its own users
without a file and without having drawn for the others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Data, Split
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shards import UserRange
from cofi_dist.data.spool import Spool

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
BINS = 2**16
Key = NDArray[np.float64] | NDArray[np.int64]


def held_out(data: Data) -> dict[Part, Split]:
    """The splits that the config asks for, in the order in which they take their ratings."""
    wanted: dict[Part, Split | None] = {"test": data.test, "validation": data.validation}
    return {part: split for part, split in wanted.items() if split is not None}


def assign(
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
            taken = chance(split.seed, part, user[free], item[free]) < split.fraction
        else:
            if split.by == "last":
                assert time is not None
                key, count = time[free], split.n
            else:
                assert split.seed is not None
                key, count = chance(split.seed, part, user[free], item[free]), 1
            assert count is not None
            taken = _largest(user[free], key, count)
        part_N[free[taken]] = PARTS.index(part)
    return part_N


def time_cutoffs(spools: Sequence[Spool], splits: dict[Part, Split]) -> dict[Part, float]:
    """For each split by time, the latest time that stays in training.

    Args:
        spools: of all ratings, each with whole users, in order.
        splits: as `held_out` gives them.
    """
    cutoffs: dict[Part, float] = {}
    before: dict[Part, Split] = {}
    for part, split in splits.items():
        if split.by == "time":
            assert split.fraction is not None

            def free_times() -> Iterator[NDArray[np.float64]]:
                for spool in spools:
                    rows = spool.whole()
                    free = assign(rows["user"], rows["item"], before, rows["time"], cutoffs) == 0
                    yield rows["time"][free]

            cutoffs[part] = _cutoff(free_times, split.fraction)
        before[part] = split
    return cutoffs


def _cutoff(times: Callable[[], Iterator[NDArray[np.float64]]], fraction: float) -> float:
    """The earliest time after which come at most `fraction` of all, by narrowing a histogram."""
    pieces = [(len(t), t.min(), t.max()) for t in times() if len(t)]
    if not pieces:
        return 0.0
    may_follow = round(fraction * sum(count for count, _, _ in pieces))
    low, high = min(least for _, least, _ in pieces), max(most for _, _, most in pieces)
    while low < high:
        bins = TimeBins(low, high)
        counts = np.sum([bins.counts(t) for t in times()], axis=0)
        from_top = np.cumsum(counts[::-1])[::-1]
        holds_cutoff = int(np.flatnonzero(from_top > may_follow)[-1])
        may_follow -= int(from_top[holds_cutoff] - counts[holds_cutoff])
        inside = [t[bins.of(t) == holds_cutoff] for t in times()]
        low, high = min(t.min() for t in inside if len(t)), max(t.max() for t in inside if len(t))
    return float(low)


@dataclass(frozen=True)
class TimeBins:
    """BINS equal spans from low to high, which never fall into the same one."""

    low: float
    high: float

    def of(self, time: NDArray[np.float64]) -> NDArray[np.int64]:
        """The bin of each time; -1 outside."""
        bin_N = (
            np.floor((time - self.low) / (self.high - self.low) * BINS).clip(-1, BINS - 1).astype(np.int64)
        )
        return np.where(time > self.high, -1, bin_N)

    def counts(self, time: NDArray[np.float64]) -> NDArray[np.int64]:
        """Times in each bin, (BINS,)."""
        return np.bincount(self.of(time) + 1, minlength=BINS + 1)[1:]


def chance(
    seed: int, part: Part, user: NDArray[np.integer], item: NDArray[np.integer]
) -> NDArray[np.float64]:
    """A number of [0, 1) for each rating, by splitmix64's finaliser over seed, part, user and item."""
    state = np.full(len(user), seed, np.uint64)
    for word in (np.uint64(PARTS.index(part)), user.astype(np.uint64), item.astype(np.uint64)):
        state = _mixed(state ^ word)
    uniform: NDArray[np.float64] = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
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


class Whole(Protocol):
    """All ratings of num_users users on num_items items, of which any user range can be loaded."""

    @property
    def num_users(self) -> int: ...

    @property
    def num_items(self) -> int: ...

    @property
    def scale(self) -> tuple[float, float]: ...

    @property
    def notes(self) -> list[str]: ...

    def ratings_per_user(self) -> NDArray[np.int64]: ...

    def load(self, users: UserRange) -> Ratings: ...


class SplitRatings:
    """A source of which parts are held out by chance, as its ratings are loaded.

    Args:
        source: of all the ratings; loads any user range.
        splits: as `held_out` gives them; none of them needs times.
    """

    def __init__(self, source: Whole, splits: dict[Part, Split]) -> None:
        self._source, self._splits = source, splits
        self.num_users, self.num_items = source.num_users, source.num_items
        self.scale = source.scale
        self.parts: tuple[Part, ...] = ("train", *splits)

    @property
    def notes(self) -> list[str]:
        """What is known of the ratings, in lines."""
        return self._source.notes

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,), held-out ones among them."""
        return self._source.ratings_per_user()

    def load(self, users: UserRange, part: Part = "train") -> Ratings:
        """This part of the ratings of these users; `user` counts from `users.start`."""
        ratings = self._source.load(users)
        if not self._splits:
            return ratings
        part_N = assign(ratings.user.astype(np.int64) + users.start, ratings.item, self._splits)
        mine = part_N == PARTS.index(part)
        return Ratings(ratings.user[mine], ratings.item[mine], ratings.value[mine])
