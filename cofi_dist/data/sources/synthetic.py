"""Make up ratings with a planted taste, from a seed.

Users are drawn in blocks, each from a generator of its own that is seeded by (seed, block). So any rank can
make its own users' ratings, and every number of ranks makes the same data.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Feedback
from cofi_dist.data.ratings import MOST_ROWS, Ratings
from cofi_dist.errors import ConfigError
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.system.memory import free_memory, require_memory

BLOCK_USERS = 1024
LOWEST, HIGHEST = 0.5, 5.0
TASTES = 8  # rank of the planted taste
MEAN, ITEM_STD, USER_STD, TASTE_STD, NOISE_STD = 3.5, 0.45, 0.40, 0.45, 0.75
ACTIVITY_SIGMA = 1.25  # log-normal: the busiest of 610 users rates about 25 times as much as the median
BYTES_PER_USER, BYTES_PER_ITEM = 40, 56  # that every rank needs to draw them
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


class Planted(NamedTuple):
    """Hold the ratings of a block of users before the noise.

    Attributes:
        rng: the block's generator, which draws the noise next.
        user: counted from the block's first user, (N,).
        item: (N,).
        stars: the ratings without noise and rounding, (N,).
    """

    rng: np.random.Generator
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    stars: NDArray[np.float32]


class SyntheticRatings:
    """Make up ratings, 0.5 to 5 in half stars, with long-tailed users and items: an `UnsplitSource`.

    rating = 3.5 + item quality + user mood + taste . flavour + noise, all normal, rounded to
    half stars; taste and flavour have 8 dimensions.

    Args:
        num_users: number of users.
        num_items: M.
        num_ratings: number of ratings, at most half of the cells.
        seed: of everything that is drawn.

    Raises:
        ConfigError: more ratings than half of the matrix holds, or more rows than can be numbered.
    """

    feedback: Feedback = "explicit"
    scale = (LOWEST, HIGHEST)

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
        self._last_block: tuple[int, Ratings] | None = None

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Count each user's ratings, which sum to num_ratings: (num_users,)."""
        return self.counts

    def load(self, users: UserRange) -> Ratings:
        """Draw the ratings of these users; `user` counts from `users.start`."""
        count = int(self.counts[users.start : users.stop].sum())
        drawn = Ratings(np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.float32))
        start = 0
        for number in range(users.start // BLOCK_USERS, -(-users.stop // BLOCK_USERS)):
            block, offset = self._block(number), number * BLOCK_USERS - users.start
            wanted = slice(*np.searchsorted(block.user, [-offset, len(users) - offset]))
            rows = slice(start, start := start + wanted.stop - wanted.start)
            drawn.user[rows] = block.user[wanted] + offset
            drawn.item[rows], drawn.value[rows] = block.item[wanted], block.value[wanted]
        return drawn

    def fingerprint(self) -> str:
        """Return what the ratings are made from."""
        return f"made up: {self.num_users} {self.num_items} {self.num_ratings} {self.seed}"

    @property
    def notes(self) -> list[str]:
        """Say which RMSE cannot be beaten."""
        return [
            f"made-up ratings: on unseen ones no RMSE below {self.best_rmse():.4f} can be expected,"
            " which is that of the planted truth itself"
        ]

    def best_rmse(self) -> float:
        """Return the RMSE on unseen ratings that the planted truth itself is expected to have.

        It is the standard deviation of a rating about its planted value, including the rounding and
        the ends of the scale, measured on the first block of users that has ratings.
        """
        first_rated = int(np.flatnonzero(self.counts)[0]) // BLOCK_USERS
        truth = self._planted(first_rated).stars
        grid = np.linspace(truth.min(), truth.max(), 2001)
        variance = np.interp(truth, grid, _variance(grid))
        return float(np.sqrt(variance.mean()))

    @cached_property
    def _items(self) -> Items:
        rng = self._rng("items")
        offset, power = POPULARITY
        weight = (rng.permutation(self.num_items) + float(offset)) ** -power
        flavour = rng.standard_normal((self.num_items, TASTES), dtype=np.float32)
        quality = ITEM_STD * rng.standard_normal(self.num_items, dtype=np.float32)
        return Items(np.cumsum(weight) / weight.sum(), flavour, quality)

    def _rng(self, *key: int | str) -> np.random.Generator:
        # text is encoded as numbers, because Python's own hash differs between processes
        numbers = [n for k in key for n in (k.encode() if isinstance(k, str) else [k])]
        return np.random.default_rng([self.seed, *numbers])

    def _draw_counts(self) -> NDArray[np.int64]:
        """Draw log-normal activity, scaled to the exact total, with no user above half of the items."""
        cap = (self.num_items + 1) // 2
        activity = self._rng("users").lognormal(0.0, ACTIVITY_SIGMA, self.num_users)
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

    def _planted(self, block: int) -> Planted:
        """Draw who rates what in a block of users, and with how many stars before the noise."""
        items = self._items
        counts = self.counts[block * BLOCK_USERS : (block + 1) * BLOCK_USERS]
        rng = self._rng("block", block)
        taste = rng.standard_normal((len(counts), TASTES), dtype=np.float32)
        mood = USER_STD * rng.standard_normal(len(counts), dtype=np.float32)
        user, item = _distinct_items(rng, counts, items.cumulative)
        stars = MEAN + items.quality[item] + mood[user]
        for taste_k, flavour_k in zip(taste.T, items.flavour.T, strict=True):
            stars += (TASTE_STD / TASTES**0.5) * taste_k[user] * flavour_k[item]
        return Planted(rng, user, item, stars)

    def _block(self, block: int) -> Ratings:
        """Return all ratings of a block of users; `user` counts from its first user.

        The last block is kept, because whoever loads a part of it usually loads the rest next.
        """
        if self._last_block is None or self._last_block[0] != block:
            self._last_block = None  # frees its memory before more is needed
            rng, user, item, stars = self._planted(block)
            stars += NOISE_STD * rng.standard_normal(len(stars), dtype=np.float32)
            value = np.clip(np.round(2.0 * stars) / 2.0, LOWEST, HIGHEST)
            self._last_block = block, Ratings(user.astype(np.int32), item.astype(np.int32), value)
        return self._last_block[1]


def _variance(truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of a rating, given its value before noise, rounding and clipping."""
    levels = np.arange(LOWEST, HIGHEST + 0.25, 0.5)
    edges = (levels[:-1] + levels[1:]) / 2
    below = [[0.5 * (1 + math.erf((edge - t) / (NOISE_STD * 2**0.5))) for edge in edges] for t in truth]
    share = np.diff(below, prepend=0.0, append=1.0, axis=1)
    variance: NDArray[np.float64] = share @ levels**2 - (share @ levels) ** 2
    return variance


def _distinct_items(
    rng: np.random.Generator, counts: NDArray[np.int64], cumulative: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `counts` distinct items per user, by popularity; return users and items in order of both.

    Repeatedly draws what is missing, and drops items that a user has already.

    Args:
        rng: the generator.
        counts: number of items of each user.
        cumulative: cumulative popularity, (M,).
    """
    num_items = len(cumulative)
    complete, pairs = [], np.empty(0, np.int64)  # pair = user * M + item
    lacking = np.repeat(np.arange(len(counts)), counts)
    while len(lacking):
        drawn = np.minimum(np.searchsorted(cumulative, rng.random(len(lacking))), num_items - 1)
        pairs = np.sort(np.concatenate([pairs, lacking * num_items + drawn]))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        users = pairs // num_items
        lacks = counts - np.bincount(users, minlength=len(counts))
        # users who have all their items leave, so that a busy user's many rounds cost little
        complete.append(pairs[lacks[users] == 0])
        counts = np.where(lacks == 0, 0, counts)
        pairs, lacking = pairs[lacks[users] > 0], np.repeat(np.arange(len(counts)), lacks)
    pairs = np.sort(np.concatenate([*complete, pairs]))
    return pairs // num_items, pairs % num_items
