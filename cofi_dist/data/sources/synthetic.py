"""Make up ratings with a planted taste, from a seed."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Feedback
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.population import TASTES, Population, UserBlocks, distinct_items
from cofi_dist.sharding.ranges import UserRange

LOWEST, HIGHEST = 0.5, 5.0
MEAN, USER_STD, TASTE_STD, NOISE_STD = 3.5, 0.40, 0.45, 0.75


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
        self._population = Population(num_users, num_items, num_ratings, seed)
        self.num_users, self.num_items, self.num_ratings = num_users, num_items, num_ratings
        self.counts = self._population.counts
        self._blocks = UserBlocks(self.counts, self._block)

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Count each user's ratings, which sum to num_ratings: (num_users,)."""
        return self.counts

    def load(self, users: UserRange) -> Ratings:
        """Draw the ratings of these users; `user` counts from `users.start`."""
        return self._blocks.load(users)

    def fingerprint(self) -> str:
        """Return what the ratings are made from."""
        return f"made up: {self._population}"

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
        truth = self._planted(self._population.first_block).stars
        grid = np.linspace(truth.min(), truth.max(), 2001)
        variance = np.interp(truth, grid, _variance(grid))
        return float(np.sqrt(variance.mean()))

    def _planted(self, block: int) -> Planted:
        """Draw who rates what in a block of users, and with how many stars before the noise."""
        items, counts = self._population.items, self._population.block_counts(block)
        rng = self._population.generator("block", block)
        taste = rng.standard_normal((len(counts), TASTES), dtype=np.float32)
        mood = USER_STD * rng.standard_normal(len(counts), dtype=np.float32)
        user, item = distinct_items(counts, self.num_items, lambda users: items.draw(rng, len(users)))
        stars = MEAN + items.quality[item] + mood[user]
        for taste_k, flavour_k in zip(taste.T, items.flavour.T, strict=True):
            stars += (TASTE_STD / TASTES**0.5) * taste_k[user] * flavour_k[item]
        return Planted(rng, user, item, stars)

    def _block(self, block: int) -> Ratings:
        """Draw all ratings of a block of users; `user` counts from its first user."""
        rng, user, item, stars = self._planted(block)
        stars += NOISE_STD * rng.standard_normal(len(stars), dtype=np.float32)
        value = np.clip(np.round(2.0 * stars) / 2.0, LOWEST, HIGHEST)
        return Ratings(user.astype(np.int32), item.astype(np.int32), value)


def _variance(truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of a rating, given its value before noise, rounding and clipping."""
    levels = np.arange(LOWEST, HIGHEST + 0.25, 0.5)
    edges = (levels[:-1] + levels[1:]) / 2
    below = [[0.5 * (1 + math.erf((edge - t) / (NOISE_STD * 2**0.5))) for edge in edges] for t in truth]
    share = np.diff(below, prepend=0.0, append=1.0, axis=1)
    variance: NDArray[np.float64] = share @ levels**2 - (share @ levels) ** 2
    return variance
