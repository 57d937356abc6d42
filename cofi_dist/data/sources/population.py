"""Draw a made-up population from a seed: how active users are, how popular items are, and who has which.

Users are drawn in blocks, each from a generator of its own that is seeded by (seed, block). So any rank can
make its own users' ratings, and every number of ranks makes the same data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import MOST_ROWS, Ratings
from cofi_dist.errors import ConfigError
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.system.memory import free_memory, require_memory

BLOCK_USERS = 1024
TASTES = 8  # rank of the planted taste
ITEM_STD = 0.45
ACTIVITY_SIGMA = 1.25  # log-normal: the busiest of 610 users rates about 25 times as much as the median
BYTES_PER_USER, BYTES_PER_ITEM = 40, 72  # that every rank needs to draw them
POPULARITY = 40, 1.1  # weight 1 / (rank + 40)^1.1: few items have most ratings, half have 3 or fewer


@dataclass(frozen=True)
class Items:
    """Hold what is planted in the items.

    Attributes:
        cumulative: cumulative popularity, (M,); the last is 1.
        flavour: (M, TASTES).
        quality: (M,).
    """

    cumulative: NDArray[np.float64]
    flavour: NDArray[np.float32]
    quality: NDArray[np.float32]

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw items by popularity, (count,)."""
        uniform = rng.random(count)
        # the first item whose cumulative popularity is not below the number; the guide starts just before it
        item = self._guide[(uniform * len(self._guide)).astype(np.int64)].astype(np.int64)
        behind = np.flatnonzero(self.cumulative[item] < uniform)
        while len(behind):
            item[behind] += 1
            behind = behind[item[behind] < len(self.cumulative) - 1]
            behind = behind[self.cumulative[item[behind]] < uniform[behind]]
        return item

    @cached_property
    def _guide(self) -> NDArray[np.int32]:
        """For each of 2^n equal intervals of [0, 1), the first item that a number in it may stand for."""
        size = 1 << (2 * len(self.cumulative) - 1).bit_length()
        first = np.searchsorted(self.cumulative, np.arange(size) / size)
        return np.minimum(first, len(self.cumulative) - 1).astype(np.int32)


class Population:
    """Draw users and items, and which user has which items.

    Args:
        num_users: number of users.
        num_items: M.
        num_ratings: number of ratings, at most half of the cells.
        seed: of everything that is drawn.

    Attributes:
        counts: number of each user's ratings, (num_users,).

    Raises:
        ConfigError: more ratings than half of the matrix holds, or more rows than can be numbered.
    """

    def __init__(self, num_users: int, num_items: int, num_ratings: int, seed: int) -> None:
        for key, rows in (("num_users", num_users), ("num_items", num_items)):
            if rows > MOST_ROWS:
                raise ConfigError(f"data.synthetic.{key}: {rows} is too many; at most {MOST_ROWS}")
        most = num_users * ((num_items + 1) // 2)
        if num_ratings > most:
            raise ConfigError(
                f"data.synthetic.num_ratings: {num_ratings} is more than half of"
                f" {num_users} users x {num_items} items; at most {most}"
            )
        need = BYTES_PER_USER * num_users + BYTES_PER_ITEM * num_items
        shape = f"data.synthetic: drawing {num_users} users and {num_items} items"
        require_memory(need, free_memory(), shape, "set lower numbers")
        self.num_users, self.num_items, self.num_ratings, self.seed = num_users, num_items, num_ratings, seed
        self.counts = self._draw_counts()

    def __str__(self) -> str:
        return f"{self.num_users} {self.num_items} {self.num_ratings} {self.seed}"

    @cached_property
    def items(self) -> Items:
        """Return what is planted in the items."""
        rng = self.generator("items")
        offset, power = POPULARITY
        weight = (rng.permutation(self.num_items) + float(offset)) ** -power
        flavour = rng.standard_normal((self.num_items, TASTES), dtype=np.float32)
        quality = ITEM_STD * rng.standard_normal(self.num_items, dtype=np.float32)
        return Items(np.cumsum(weight) / weight.sum(), flavour, quality)

    @property
    def first_block(self) -> int:
        """Return the first block of users that has ratings."""
        return int(np.flatnonzero(self.counts)[0]) // BLOCK_USERS

    def block_counts(self, block: int) -> NDArray[np.int64]:
        """Return the number of ratings of each user of a block."""
        return self.counts[block * BLOCK_USERS : (block + 1) * BLOCK_USERS]

    def generator(self, *key: int | str) -> np.random.Generator:
        """Return a new generator, seeded by the seed and the key."""
        # text is encoded as numbers, because Python's own hash differs between processes
        numbers = [n for k in key for n in (k.encode() if isinstance(k, str) else [k])]
        return np.random.default_rng([self.seed, *numbers])

    def _draw_counts(self) -> NDArray[np.int64]:
        """Draw log-normal activity, scaled to the exact total, with no user above half of the items."""
        cap = (self.num_items + 1) // 2
        activity = self.generator("users").lognormal(0.0, ACTIVITY_SIGMA, self.num_users)
        share = activity * (self.num_ratings / activity.sum())
        counts: NDArray[np.int64] = np.minimum(np.floor(share), cap).astype(np.int64)
        busiest_first = np.argsort(-activity, kind="stable")
        # rounding down and the cap have left some ratings, which go to the busiest users below the cap
        while missing := self.num_ratings - int(counts.sum()):
            free = busiest_first[counts[busiest_first] < cap]
            each = max(1, missing // len(free))
            more = free if each > 1 else free[:missing]
            counts[more] = np.minimum(counts[more] + each, cap)
        return counts


class UserBlocks:
    """Load the ratings of any users from blocks that are drawn whole.

    The last block is kept, because whoever loads a part of it usually loads the rest next.

    Args:
        counts: number of each user's ratings, (num_users,).
        draw: draws all ratings of a block of users; their `user` counts from its first user.
    """

    def __init__(self, counts: NDArray[np.int64], draw: Callable[[int], Ratings]) -> None:
        self._counts, self._draw = counts, draw
        self._last: tuple[int, Ratings] | None = None

    def load(self, users: UserRange) -> Ratings:
        """Draw the ratings of these users; `user` counts from `users.start`."""
        count = int(self._counts[users.start : users.stop].sum())
        drawn = Ratings(np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.float32))
        start = 0
        for number in range(users.start // BLOCK_USERS, -(-users.stop // BLOCK_USERS)):
            block, offset = self._block(number), number * BLOCK_USERS - users.start
            wanted = slice(*np.searchsorted(block.user, [-offset, len(users) - offset]))
            rows = slice(start, start := start + wanted.stop - wanted.start)
            drawn.user[rows] = block.user[wanted] + offset
            drawn.item[rows], drawn.value[rows] = block.item[wanted], block.value[wanted]
        return drawn

    def _block(self, number: int) -> Ratings:
        if self._last is None or self._last[0] != number:
            self._last = None  # frees its memory before more is needed
            self._last = number, self._draw(number)
        return self._last[1]


def distinct_items(
    counts: NDArray[np.int64], num_items: int, draw: Callable[[NDArray[np.int64]], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `counts` distinct items per user; return users and items in order of both.

    Repeatedly draws what is missing, and drops items that a user has already.

    Args:
        counts: number of items of each user.
        num_items: M.
        draw: draws an item for each of the users that it is given, which are ascending.
    """
    complete, pairs = [], np.empty(0, np.int64)  # pair = user * M + item
    lacking = np.repeat(np.arange(len(counts)), counts)
    while len(lacking):
        pairs = np.sort(np.concatenate([pairs, lacking * num_items + draw(lacking)]))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        users = pairs // num_items
        lacks = counts - np.bincount(users, minlength=len(counts))
        # users who have all their items leave, so that a busy user's many rounds cost little
        complete.append(pairs[lacks[users] == 0])
        counts = np.where(lacks == 0, 0, counts)
        pairs, lacking = pairs[lacks[users] > 0], np.repeat(np.arange(len(counts)), lacks)
    pairs = np.sort(np.concatenate([*complete, pairs]))
    return pairs // num_items, pairs % num_items
