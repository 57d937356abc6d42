"""Make up events, such as clicks, whose choice follows a planted taste, from a seed."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Feedback, SplitSection
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.population import TASTES, Items, Population, UserBlocks, distinct_items
from cofi_dist.data.splits import assign_parts
from cofi_dist.sharding.ranges import UserRange

# A user who comes across an item takes it with probability LEAST + (1 - LEAST) sigmoid(STEEPNESS (match -
# THRESHOLD)). LEAST bounds the number of draws.
LEAST, STEEPNESS, THRESHOLD = 0.02, 3.0, 0.5
REPEATS = 2.0  # mean number of further events with an item that is taken with certainty
K = 10  # length of the lists by which the planted truth is judged
CELLS_JUDGED = 2**22  # users times items whose planted scores are sorted


@dataclass(frozen=True)
class PlantedTaste:
    """Tell how likely users of a block take items that they come across.

    Attributes:
        taste: (U, TASTES).
        items: of the population.
    """

    taste: NDArray[np.float32]
    items: Items

    def acceptance(self, user: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the probability for each pair, (N,)."""
        match = self.taste.take(user, 0)
        match *= self.items.flavour.take(item, 0)
        return _acceptance(match.sum(1))

    def scores(self, num_users: int) -> NDArray[np.float64]:
        """Return the true odds of the first users with all items, (num_users, M)."""
        popularity = np.diff(self.items.cumulative, prepend=0.0)
        return popularity * _acceptance(self.taste[:num_users] @ self.items.flavour.T)


class PlantedEvents(NamedTuple):
    """Hold the pairs of a block of users.

    Attributes:
        rng: the block's generator, which draws the strengths next.
        taste: what the users like.
        user: counted from the block's first user, (N,).
        item: (N,).
    """

    rng: np.random.Generator
    taste: PlantedTaste
    user: NDArray[np.int64]
    item: NDArray[np.int64]


class SyntheticEvents:
    """Make up events with long-tailed users and items: an `UnsplitSource`.

    Users come across items by popularity, and take those that match their taste. The strength of a pair is
    how often the user takes the item, at least once.

    Args:
        num_users: number of users.
        num_items: M.
        num_pairs: number of pairs of a user and an item with events, at most half of the cells.
        seed: of everything that is drawn.

    Raises:
        ConfigError: more pairs than half of the matrix holds, or more rows than can be numbered.
    """

    feedback: Feedback = "implicit"
    scale = (-np.inf, np.inf)

    def __init__(self, num_users: int, num_items: int, num_pairs: int, seed: int) -> None:
        self._population = Population(num_users, num_items, num_pairs, seed)
        self.num_users, self.num_items = num_users, num_items
        self._blocks = UserBlocks(self._population.counts, self._block)

    def ratings_per_user(self) -> NDArray[np.int64]:
        """Count each user's pairs, which sum to num_pairs: (num_users,)."""
        return self._population.counts

    def load(self, users: UserRange) -> Ratings:
        """Draw the events of these users; `user` counts from `users.start`."""
        return self._blocks.load(users)

    def fingerprint(self) -> str:
        """Return what the events are made from."""
        return f"made-up events: {self._population}"

    @property
    def notes(self) -> list[str]:
        """Say which NDCG can be reached."""
        found = self.best_ndcg()
        if found is None:
            return []
        truth, popularity = found
        return [
            f"made-up events: with a random fifth held out, the planted truth itself has an NDCG@{K} of"
            f" {truth:.4f}, and popularity one of {popularity:.4f}"
        ]

    def best_ndcg(self) -> tuple[float, float] | None:
        """Return NDCG@10 of lists by the planted truth and of lists by popularity, with a fifth held out.

        It is measured on the first users of the first block that has events; None if nothing is held out.
        """
        planted = self._planted(self._population.first_block)
        num_users = min(len(planted.taste.taste), max(1, CELLS_JUDGED // self.num_items))
        judged = slice(0, int(np.searchsorted(planted.user, num_users)))
        user, item = planted.user[judged], planted.item[judged]
        is_held_out = assign_parts(user, item, {"test": SplitSection(by="random", fraction=0.2)}) > 0
        if not is_held_out.any():
            return None
        scores = planted.taste.scores(num_users)
        by_popularity = np.tile(np.diff(self._population.items.cumulative, prepend=0.0), (num_users, 1))
        truth, popularity = (_ndcg(each, user, item, is_held_out) for each in (scores, by_popularity))
        return truth, popularity

    def _planted(self, block: int) -> PlantedEvents:
        """Draw who takes what in a block of users."""
        items, counts = self._population.items, self._population.block_counts(block)
        rng = self._population.generator("events", block)
        taste = rng.standard_normal((len(counts), TASTES), dtype=np.float32)
        planted = PlantedTaste(taste, items)

        def draw(users: NDArray[np.int64]) -> NDArray[np.int64]:
            taken, waiting = np.empty(len(users), np.int64), np.arange(len(users))
            while len(waiting):
                item = items.draw(rng, len(waiting))
                chance = rng.random(len(waiting), dtype=np.float32)
                takes = chance < planted.acceptance(users[waiting], item)
                taken[waiting[takes]] = item[takes]
                waiting = waiting[~takes]
            return taken

        user, item = distinct_items(counts, self.num_items, draw)
        return PlantedEvents(rng, planted, user, item)

    def _block(self, block: int) -> Ratings:
        """Draw all events of a block of users; `user` counts from its first user."""
        rng, planted, user, item = self._planted(block)
        strength = 1 + rng.poisson(REPEATS * planted.acceptance(user, item))
        return Ratings(user.astype(np.int32), item.astype(np.int32), strength.astype(np.float32))


def _acceptance(match: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probability that an item is taken, given taste . flavour."""
    scaled = match * np.float32(STEEPNESS / TASTES**0.5) - np.float32(STEEPNESS * THRESHOLD)
    chance: NDArray[np.float32] = LEAST + (1 - LEAST) / (1 + np.exp(-scaled))
    return chance


def _ndcg(
    scores: NDArray[np.float64],
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    is_held_out: NDArray[np.bool_],
) -> float:
    """Return NDCG@K of the users' lists of highest scores, without the items that are not held out.

    Args:
        scores: (U, M); overwritten.
        user: of each pair, (N,).
        item: of each pair, (N,).
        is_held_out: whether the pair is held out, and so relevant, (N,).
    """
    num_users, num_items = scores.shape
    scores[user[~is_held_out], item[~is_held_out]] = -1.0
    length = min(K, num_items)
    best = np.argpartition(-scores, length - 1, axis=1)[:, :length]
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, 1), axis=1), 1)
    listed, relevant = np.arange(num_users)[:, None] * num_items + best, user * num_items + item
    discount = 1 / np.log2(np.arange(2, length + 2))
    gains = np.isin(listed, relevant[is_held_out]) @ discount
    num_relevant = np.bincount(user[is_held_out], minlength=num_users)
    judged = num_relevant > 0
    ideal = np.cumsum(discount)[np.minimum(num_relevant[judged], length) - 1]
    return float((gains[judged] / ideal).mean())
