"""Measure how good the lists are that the factors make of the items, during training.

The figure is the one that `evaluate` prints for the model of these factors: both score by
`cofi_dist.ranking.scores`, and rank by `cofi_dist.ranking.metrics`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.sides import sides_of
from cofi_dist.data.item_means import ItemSums
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import Reducer
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.optim.base import run_all, run_for_result
from cofi_dist.optim.item_pass import ItemPass
from cofi_dist.ranking.metrics import METRICS, rank_users
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.scores import ItemScores, known_users, unknown_offset
from cofi_dist.ranking.top_k import TopK, settle
from cofi_dist.ranking.users import MAX_BATCH_USERS, batch_size
from cofi_dist.sharding.ranges import UserRange

# U users of this rank, M items, V users of a batch.

Rows = NDArray[np.integer]
# Returns w and b of some users, with stand-ins for those that are unknown.
WeightsOf = Callable[[Rows], tuple[NDArray[np.float64], NDArray[np.float64]]]


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
        item_pass: lets items go by that are not all on this rank; None if they are.
    """

    def __init__(
        self,
        held_out: Ratings,
        shard: UserShard,
        items: ItemFacts,
        metric: str,
        k: int,
        is_chosen: NDArray[np.bool_],
        item_pass: ItemPass | None = None,
    ) -> None:
        self._pass = item_pass
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
        W, b = factors.W.cpu().numpy(), factors.b[0].cpu().numpy()
        unknown_bias = self._mean_bias(b, reducer)

        def weights_of(users: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            return known_users(W[users], b[users], self._is_known[users], unknown_bias)

        lists: Iterable[TopK]
        if self._pass is None:
            lists = self._lists(factors, weights_of)
        else:
            lists = self._lists_by_blocks(self._pass, factors, weights_of, reducer)
        figure_U = np.zeros(len(W))
        for (at, users), found in zip(self._batches(), lists, strict=True):

            def best(_rows: NDArray[np.int64], _left_out: UserItemPairs, found: TopK = found) -> TopK:
                return found  # each user of the batch has relevant items

            relevant = self._pairs(np.arange(at, at + len(users)), self._relevant_start, self._relevant_item)
            shape = len(users), self._num_items
            ranked = rank_users(best, relevant, UserItemPairs.none(), shape, self._k)
            figure_U[users[ranked.users]] = ranked.metrics[:, self._column]
        partials = (self._block_sums.sum_over_users(torch.from_numpy(a)) for a in (figure_U, self.is_judged))
        total, count = reducer.all_reduce_scalars(*partials)
        return {self._metric: (total / count).item()}

    def _batches(self) -> Iterator[tuple[int, Rows]]:
        """Yield the judged users, batch by batch, and how many come before each batch."""
        size = batch_size(min(self._k, self._num_items))
        for at in range(0, len(self._users), size):
            yield at, self._users[at : at + size]

    def _lists(self, factors: Factors, weights_of: WeightsOf) -> Iterator[TopK]:
        """Yield the lists of each batch; X is whole on this rank."""
        sums, c = self._items.sums, factors.c
        X, biases = factors.X.cpu().numpy(), None if c is None else c.cpu().numpy()
        items = ItemScores.build(X, biases, self._items.offsets, sums.count, sums.global_mean)
        ranker = Ranker(items.X, items.offset)
        for _, users in self._batches():
            yield ranker.best(*weights_of(users), self._k, self._training(users))

    def _lists_by_blocks(
        self, item_pass: ItemPass, factors: Factors, weights_of: WeightsOf, reducer: Reducer
    ) -> list[TopK]:
        """Return the lists of each batch, while the items go by.

        A list has the best of the lists of all blocks: what orders the items does not depend on the others.
        """
        sums, offsets, c = self._items.sums, self._items.offsets, None
        if factors.c is not None:
            whole = run_for_result(item_pass.gather(factors.c[0]), reducer)
            c = whole[None].cpu().numpy()
        of_unknown = unknown_offset(c, offsets, sums.count, sums.global_mean)
        found: list[list[TopK]] = [[] for _ in self._batches()]

        def rank(number: int, rows: Side[Tensor]) -> None:
            block = item_pass.blocks[number]
            mine = slice(block.start, block.stop)
            bias = None if c is None else c[:, mine]
            X = rows.features.cpu().numpy()
            items = ItemScores.of_rows(X, bias, offsets[mine], sums.count[mine], of_unknown)
            ranker = Ranker(items.X, items.offset)
            for place, (_, users) in enumerate(self._batches()):
                best = ranker.best(*weights_of(users), self._k, self._training(users, block))
                shifted = TopK(best.user, best.item + block.start, best.rank, best.score)
                found[place] = [_best_of([*found[place], shifted], self._k)]

        run_all(item_pass.over(sides_of(factors)[1], rank), reducer)
        return [lists[0] for lists in found]

    def _training(self, users: Rows, items: UserRange | None = None) -> UserItemPairs:
        """Return the training pairs of some users; those of some items count from the first of them."""
        pairs = self._pairs(users, self._training_start, self._training_item)
        if items is None:
            return pairs
        mine = pairs.masked((pairs.item >= items.start) & (pairs.item < items.stop))
        return UserItemPairs(mine.user, mine.item - items.start)

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


def _best_of(lists: Sequence[TopK], k: int) -> TopK:
    """Return the k best of several lists of each user, which have no item in common."""
    user, item, score = (
        np.concatenate([getattr(each, name) for each in lists]) for name in ("user", "item", "score")
    )
    return settle(UserItemPairs(user, item), score, k)
