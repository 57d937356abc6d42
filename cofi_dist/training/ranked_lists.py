"""Measure how good the lists are that the factors make of the items, during training.

The figure is the one that `evaluate` prints for the model of these factors: both score by
`cofi_dist.ranking.scores`, and rank by `cofi_dist.ranking.metrics`.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cofi_dist.data.item_means import ItemSums
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import Reducer
from cofi_dist.factors import Factors
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.ranking.metrics import METRICS, rank_users
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.scores import ItemScores, known_users
from cofi_dist.ranking.top_k import TopK
from cofi_dist.ranking.users import MAX_BATCH_USERS, batch_size

# U users of this rank, M items, V users of a batch.

Rows = NDArray[np.integer]


@dataclass(frozen=True)
class ItemFacts:
    """Hold what is known of the items before training.

    Attributes:
        sums: over the training ratings of all ranks, by item.
        offsets: what was subtracted from each item's training ratings, (M,).
    """

    sums: ItemSums
    offsets: NDArray[np.float64]


class RankedLists:
    """Judge the lists of one rank's users by their held-out ratings.

    The shard's training items are kept by reference, as the kernels keep them too; nothing else is of the
    size of the training ratings.

    Args:
        held_out: in user order; `user` counts from the rank's first user. All its items are relevant.
        shard: the users' training ratings, which lists leave out.
        items: what is known of them.
        metric: one of METRICS.
        k: length of a list.
        is_chosen: whether each user's list is judged, (U,).
    """

    def __init__(
        self,
        held_out: Ratings,
        shard: UserShard,
        items: ItemFacts,
        metric: str,
        k: int,
        is_chosen: NDArray[np.bool_],
    ) -> None:
        self._metric, self._column, self._k, self._items = metric, METRICS.index(metric), k, items
        self._block_sums = BlockSums(shard.blocks)
        self._num_items = shard.num_items
        self._training_start, self._training_item = shard.indptr(), shard.ratings.item
        self._is_known = np.diff(self._training_start) > 0
        held_out = held_out.masked(is_chosen[held_out.user])
        held_out = held_out.masked(~self._is_in_training(held_out))
        # Only the users with relevant items are judged; start[n] is where those of user n begin.
        self._users, start = np.unique(held_out.user, return_index=True)
        self._relevant_start, self._relevant_item = np.append(start, len(held_out)), held_out.item
        self.is_judged = np.zeros(len(shard.users))
        self.is_judged[self._users] = 1

    def num_judged(self, reducer: Reducer) -> int:
        """Return how many users of all ranks have their lists judged. Collective: all ranks call it."""
        judged = self._block_sums.sum_over_users(torch.from_numpy(self.is_judged))
        return round(reducer.all_reduce_scalars(judged)[0].item())

    def measure(self, factors: Factors, reducer: Reducer) -> dict[str, float]:
        """Return the metric, averaged over the judged users of all ranks; nan if there are none.

        Collective: all ranks call it, all get the same.

        Args:
            factors: X, c if there is one, and this rank's W and b, on any device; scored on the CPU.
            reducer: sums over the users of all ranks.
        """
        items = self._item_scores(factors)
        ranker = Ranker(items.X, items.offset)
        W, b = factors.W.cpu().numpy(), factors.b[0].cpu().numpy()
        unknown_bias = self._mean_bias(b, reducer)
        figure_U = np.zeros(len(W))
        size = batch_size(min(self._k, self._num_items))
        for at in range(0, len(self._users), size):
            users = self._users[at : at + size]

            def best(rows: NDArray[np.int64], left_out: UserItemPairs, batch: Rows = users) -> TopK:
                mine = batch[rows]
                known = known_users(W[mine], b[mine], self._is_known[mine], unknown_bias)
                return ranker.best(*known, self._k, left_out)

            relevant = self._pairs(np.arange(at, at + len(users)), self._relevant_start, self._relevant_item)
            training = self._pairs(users, self._training_start, self._training_item)
            ranked = rank_users(best, relevant, training, (len(users), self._num_items), self._k)
            figure_U[users[ranked.users]] = ranked.metrics[:, self._column]
        partials = (self._block_sums.sum_over_users(torch.from_numpy(a)) for a in (figure_U, self.is_judged))
        total, count = reducer.all_reduce_scalars(*partials)
        return {self._metric: (total / count).item()}

    def _item_scores(self, factors: Factors) -> ItemScores:
        sums, c = self._items.sums, factors.c
        X, biases = factors.X.cpu().numpy(), None if c is None else c.cpu().numpy()
        return ItemScores.build(X, biases, self._items.offsets, sums.count, sums.global_mean)

    def _mean_bias(self, b: NDArray[np.floating], reducer: Reducer) -> float:
        """Return the mean bias of the users of all ranks that have training ratings; 0 if there are none."""
        numbers = (np.where(self._is_known, b, 0.0), self._is_known)
        partials = (self._block_sums.sum_over_users(torch.from_numpy(a).double()) for a in numbers)
        total, count = reducer.all_reduce_scalars(*partials)
        return (total / count).item() if count.item() else 0.0

    def _is_in_training(self, held_out: Ratings) -> NDArray[np.bool_]:
        """Tell for each held-out rating whether its pair was trained on, too; batch by batch of users."""
        found = np.zeros(len(held_out), np.bool_)
        num_users, size = len(self._training_start) - 1, MAX_BATCH_USERS
        for start in range(0, num_users, size):
            users = np.arange(start, min(start + size, num_users))
            rows = slice(*np.searchsorted(held_out.user, (start, start + size)))
            pairs = UserItemPairs(
                held_out.user[rows].astype(np.int64) - start, held_out.item[rows].astype(np.int64)
            )
            training = self._pairs(users, self._training_start, self._training_item)
            found[rows] = pairs.isin(training, self._num_items)
        return found

    @staticmethod
    def _pairs(rows: NDArray[np.integer], start: NDArray[np.int64], item: NDArray[np.int32]) -> UserItemPairs:
        """Return the items of some rows of a CSR matrix as pairs; `user` is the position in `rows`."""
        return UserItemPairs.of_rows(start[rows], start[rows + 1] - start[rows], item)
