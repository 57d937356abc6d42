"""Splits of ml-latest-small's events, and how a solver's scores are judged, for benchmarks.clicks."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.ranking.metrics import METRICS, rank_users
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.top_k import TopK

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

K = 10
TEST_PART, VALIDATION_PART = 0.2, 0.1
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Events:
    """All events in file order, by rows of users and of items, which are in the order of their ids."""

    user: Rows
    item: Rows
    users: NDArray[Any]
    items: NDArray[Any]


@dataclass
class Split:
    """What is learnt from and what is looked for; `file` holds the first, for solvers that read one.

    Attributes:
        cache: what a solver of ours has prepared of it.
    """

    events: Events
    known: NDArray[np.bool_]
    held_out: NDArray[np.bool_]
    file: Path
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and of items."""
        return len(self.events.users), len(self.events.items)

    @cached_property
    def matrix(self) -> "csr_matrix":
        """Users x items; 1 for each event."""
        import scipy.sparse

        user, item = self.events.user[self.known], self.events.item[self.known]
        ones = np.ones(len(user), np.float32)
        return scipy.sparse.csr_matrix((ones, (user, item)), shape=self.shape)

    def ndcg(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """NDCG@10 of each user with a held-out item."""
        known, relevant = (
            UserItemPairs(self.events.user[part], self.events.item[part])
            for part in (self.known, self.held_out)
        )
        ranker, everyone = Ranker(scores.T.astype(np.float64), np.zeros(self.shape[1])), np.eye(self.shape[0])

        def best(users: Rows, left_out: UserItemPairs) -> TopK:
            return ranker.best(everyone[users], np.zeros(len(users)), K, left_out)

        ranked = rank_users(best, relevant, known, self.shape, K)
        return ranked.metrics[:, METRICS.index("ndcg")]


def read(file: Path) -> Events:
    """The events of ratings.csv."""
    table = pl.read_csv(file, columns=["userId", "movieId"])
    (users, user), (items, item) = (np.unique(table[name], return_inverse=True) for name in table.columns)
    return Events(user, item, users, items)


def _write(events: Events, known: NDArray[np.bool_], file: Path) -> Path:
    columns = {"userId": events.users[events.user[known]], "movieId": events.items[events.item[known]]}
    pl.DataFrame(columns).write_csv(file)
    return file


def test_split(events: Events, seed: int, folder: Path) -> Split:
    """A random fifth held out."""
    held_out = np.random.default_rng(seed).random(len(events.user)) < TEST_PART
    return Split(events, ~held_out, held_out, _write(events, ~held_out, folder / f"test-{seed}.csv"))


def validation_split(split: Split, seed: int, folder: Path) -> Split:
    """A random tenth of what a split learns from held out."""
    chosen = np.random.default_rng(seed).random(int(split.known.sum())) < VALIDATION_PART
    held_out = np.zeros_like(split.known)
    held_out[np.flatnonzero(split.known)[chosen]] = True
    known = split.known & ~held_out
    return Split(split.events, known, held_out, _write(split.events, known, folder / f"fold-{seed}.csv"))
