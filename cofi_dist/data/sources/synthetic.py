"""Made-up ratings with a planted taste, from a seed.

Drawn by block of users from (seed, block), so any rank can make its own users' ratings, and any
number of ranks makes the same data.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import MOST_ROWS, Ratings
from cofi_dist.errors import ConfigError
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.system.memory import free_memory, require_memory

BLOCK_USERS = 1024
LOWEST, HIGHEST = 0.5, 5.0
TASTES = 8  # rank of the planted taste
MEAN, ITEM_STD, USER_STD, TASTE_STD, NOISE_STD = 3.5, 0.45, 0.40, 0.45, 0.75
ACTIVITY_SIGMA = 1.25  # log-normal: the busiest of 610 users rates about 25 times the median
BYTES_PER_USER, BYTES_PER_ITEM = 40, 56  # that every rank needs to draw them
POPULARITY = 40, 1.1  # weight 1 / (rank + 40)^1.1: few items have most ratings, half have 3 or fewer


@dataclass(frozen=True)
class Items:
    """What is planted in the items.

    Attributes:
        cumulative: popularity, summed up, (M,).
        flavour: (M, TASTES).
        quality: (M,).
    """

    cumulative: NDArray[np.float64]
    flavour: NDArray[np.float32]
    quality: NDArray[np.float32]


@dataclass(frozen=True)
class SyntheticRatings:
    """num_ratings ratings, 0.5 to 5 in half stars; long-tailed users and items.

    rating = 3.5 + item quality + user mood + taste . flavour + noise, all normal, rounded to
    half stars; taste and flavour have 8 dimensions.

    Raises:
        ConfigError: more ratings than half of the matrix holds, or more rows than can be numbered.
    """

    num_users: int
    num_items: int
    num_ratings: int
    seed: int
    counts: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for key in ("num_users", "num_items"):
            if getattr(self, key) > MOST_ROWS:
                raise ConfigError(
                    f"data.synthetic.{key}: {getattr(self, key)} is too many; at most {MOST_ROWS}"
                )
        most = self.num_users * ((self.num_items + 1) // 2)
        if self.num_ratings > most:
            raise ConfigError(
                f"data.synthetic.num_ratings: {self.num_ratings} is more than half of"
                f" {self.num_users} users x {self.num_items} items; at most {most}"
            )
        need = BYTES_PER_USER * self.num_users + BYTES_PER_ITEM * self.num_items
        shape = f"data.synthetic: drawing {self.num_users} users and {self.num_items} items"
        require_memory(need, free_memory(), shape, "set lower numbers")
        object.__setattr__(self, "counts", self._draw_counts())

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest rating."""
        return LOWEST, HIGHEST

    def ratings_per_user(self) -> NDArray[np.int64]:
        """(num_users,), summing to num_ratings."""
        return self.counts

    def load(self, users: UserRange) -> Ratings:
        """The ratings of these users; `user` counts from `users.start`."""
        count = int(self.counts[users.start : users.stop].sum())
        whole = Ratings(np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.float32))
        at = 0
        for block in range(users.start // BLOCK_USERS, -(-users.stop // BLOCK_USERS)):
            drawn, before = self._block(block), block * BLOCK_USERS - users.start
            mine = slice(*np.searchsorted(drawn.user, [-before, len(users) - before]))
            rows = slice(at, at := at + mine.stop - mine.start)
            whole.user[rows] = drawn.user[mine] + before
            whole.item[rows], whole.value[rows] = drawn.item[mine], drawn.value[mine]
        return whole

    def fingerprint(self) -> str:
        """What they are made from."""
        return f"made up: {self.num_users} {self.num_items} {self.num_ratings} {self.seed}"

    @property
    def notes(self) -> list[str]:
        """What is known of these ratings."""
        return [
            f"made-up ratings: on unseen ones no RMSE below {self.best_rmse():.4f} can be expected,"
            " which is that of the planted truth itself"
        ]

    def best_rmse(self) -> float:
        """Expected RMSE, on unseen ratings, of who knows everything but the noise.

        That is the standard deviation of a rating about its planted value, with the rounding and
        the ends of the scale; measured on the first block of users that has ratings.
        """
        first = int(np.flatnonzero(self.counts)[0]) // BLOCK_USERS
        truth = self._planted(first, self._items)[3]
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
        # text is spelt out in numbers: Python's own hash changes from process to process
        numbers = [n for k in key for n in (k.encode() if isinstance(k, str) else [k])]
        return np.random.default_rng([self.seed, *numbers])

    def _draw_counts(self) -> NDArray[np.int64]:
        """Log-normal activity, scaled to the exact total, nobody above half of the items."""
        cap = (self.num_items + 1) // 2
        activity = self._rng("users").lognormal(0.0, ACTIVITY_SIGMA, self.num_users)
        share = activity * (self.num_ratings / activity.sum())
        counts: NDArray[np.int64] = np.minimum(np.floor(share), cap).astype(np.int64)
        busiest_first = np.argsort(-activity, kind="stable")
        while missing := self.num_ratings - int(counts.sum()):
            free = busiest_first[counts[busiest_first] < cap]
            each = max(1, missing // len(free))
            more = free if each > 1 else free[:missing]
            counts[more] = np.minimum(counts[more] + each, cap)
        return counts

    def _planted(
        self, block: int, items: Items
    ) -> tuple[np.random.Generator, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Who rates what, and with how many stars but for the noise; and the generator to go on with."""
        counts = self.counts[block * BLOCK_USERS : (block + 1) * BLOCK_USERS]
        rng = self._rng("block", block)
        taste = rng.standard_normal((len(counts), TASTES), dtype=np.float32)
        mood = USER_STD * rng.standard_normal(len(counts), dtype=np.float32)
        user, item = _distinct_items(rng, counts, items.cumulative)
        stars = MEAN + items.quality[item] + mood[user]
        for taste_k, flavour_k in zip(taste.T, items.flavour.T, strict=True):
            stars += (TASTE_STD / TASTES**0.5) * taste_k[user] * flavour_k[item]
        return rng, user, item, stars

    @cached_property
    def _drawn(self) -> dict[int, Ratings]:
        """The last block, by its number: whoever asks for a part of it soon asks for the rest."""
        return {}

    def _block(self, block: int) -> Ratings:
        """All ratings of a block of users; `user` counts from its first."""
        if block not in self._drawn:
            self._drawn.clear()
            rng, user, item, stars = self._planted(block, self._items)
            stars += NOISE_STD * rng.standard_normal(len(stars), dtype=np.float32)
            value = np.clip(np.round(2.0 * stars) / 2.0, LOWEST, HIGHEST)
            self._drawn[block] = Ratings(user.astype(np.int32), item.astype(np.int32), value)
        return self._drawn[block]


def _variance(truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance of a rating, given its value before noise, rounding and clipping."""
    levels = np.arange(LOWEST, HIGHEST + 0.25, 0.5)
    edges = (levels[:-1] + levels[1:]) / 2
    below = [[0.5 * (1 + math.erf((edge - t) / (NOISE_STD * 2**0.5))) for edge in edges] for t in truth]
    share = np.diff(below, prepend=0.0, append=1.0, axis=1)
    variance: NDArray[np.float64] = share @ levels**2 - (share @ levels) ** 2
    return variance


def _distinct_items(
    rng: np.random.Generator, counts: NDArray[np.int64], cumulative: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For every user `counts` different items, by popularity; in user order, then item order.

    Draws, drops what a user has already, and draws again for those who lack some.
    """
    num_items = len(cumulative)
    done, pairs = [], np.empty(0, np.int64)
    lacking = np.repeat(np.arange(len(counts)), counts)
    while len(lacking):
        drawn = np.minimum(np.searchsorted(cumulative, rng.random(len(lacking))), num_items - 1)
        pairs = np.sort(np.concatenate([pairs, lacking * num_items + drawn]))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
        users = pairs // num_items
        lacks = counts - np.bincount(users, minlength=len(counts))
        # whoever has all leaves, so that a busy user's many rounds cost little
        done.append(pairs[lacks[users] == 0])
        counts = np.where(lacks == 0, 0, counts)
        pairs, lacking = pairs[lacks[users] > 0], np.repeat(np.arange(len(counts)), lacks)
    pairs = np.sort(np.concatenate([*done, pairs]))
    return pairs // num_items, pairs % num_items
