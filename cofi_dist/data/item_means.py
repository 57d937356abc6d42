"""Compute item means and other offsets: subtracted before training, added back to every prediction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import PIECE_RATINGS
from cofi_dist.distributed.comm import Reducer
from cofi_dist.sharding.reduction_tree import ReductionBlocks


@dataclass(frozen=True)
class ItemSums:
    """Hold sums and counts of the training ratings of all ranks, per item.

    Attributes:
        total: sum of each item's ratings, each times its weight, (M,) float64.
        count: number of each item's ratings, (M,) float64.
        given_weight: sum of the weights of each item's ratings, (M,) float64; None if all weights are 1.
    """

    total: NDArray[np.float64]
    count: NDArray[np.float64]
    given_weight: NDArray[np.float64] | None = None

    @property
    def weight(self) -> NDArray[np.float64]:
        """Return the sum of the weights of each item's ratings, (M,)."""
        return self.count if self.given_weight is None else self.given_weight

    @property
    def global_mean(self) -> float:
        """Return the mean of all ratings, weighted if they have weights; 0 if there are none."""
        sum_of_weights = self.weight.sum()
        return float(self.total.sum() / (sum_of_weights if sum_of_weights > 0 else 1.0))


def item_sums(
    ratings: Ratings, num_items: int, reducer: Reducer, blocks: ReductionBlocks | None = None
) -> ItemSums:
    """Add up the training ratings of all ranks, per item.

    Collective: all ranks call it.

    Args:
        ratings: training ratings of this rank's users.
        num_items: M.
        reducer: adds up the sums of all ranks.
        blocks: the blocks of this rank's users in which the ratings are summed; None for a single one.
    """
    import torch  # slow to import, and preparing a file needs none of it

    num_users = int(ratings.user.max(initial=-1)) + 1
    blocks = blocks or ReductionBlocks.single(num_users)
    weight = ratings.weight
    block_sums = np.zeros((len(blocks.users), 2 if weight is None else 3, num_items))
    for (total, count, *sum_of_weights), users in zip(block_sums, blocks.users, strict=True):
        start, stop = np.searchsorted(ratings.user, (users.start, users.stop))
        for piece_start in range(start, stop, PIECE_RATINGS):
            piece = slice(piece_start, min(piece_start + PIECE_RATINGS, stop))
            values = ratings.value[piece]
            if weight is not None:
                values = weight[piece].astype(np.float64) * values
                np.add.at(sum_of_weights[0], ratings.item[piece], weight[piece])
            np.add.at(total, ratings.item[piece], values)
            count[:] += np.bincount(ratings.item[piece], minlength=num_items)
    partials = torch.from_numpy(blocks.subtree_sums(block_sums))
    reducer.all_reduce_(partials)
    return ItemSums(*partials[0].numpy())


def item_offsets(sums: ItemSums, centre: str, damping: float | None) -> NDArray[np.float64]:
    """Return what to subtract from each item's ratings, (M,) float64.

    With the global mean m, an item's total t and sum of weights n (without weights, its number of ratings),
    and k = `damping`:

        item_mean           t / n, or m if n = 0
        damped_item_mean    (t + k m) / (n + k), as if the item had k more ratings of m
        global_mean         m
        none                0
    """
    mean = sums.global_mean
    if centre == "none":
        return np.zeros(len(sums.count))
    if centre == "global_mean":
        return np.full(len(sums.count), mean)
    if centre == "damped_item_mean":
        assert damping is not None
        return (sums.total + damping * mean) / (sums.weight + damping)
    seen = sums.count > 0
    return np.where(seen, sums.total / np.where(seen, sums.weight, 1.0), mean)


def mean_centred(ratings: Ratings, means: NDArray[np.float64]) -> Ratings:
    """Subtract its item's mean from every rating."""
    return Ratings(ratings.user, ratings.item, ratings.value - means[ratings.item], ratings.weight)
