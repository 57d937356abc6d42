"""Item means and other offsets: subtracted before training, added back to every prediction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import AT_ONCE
from cofi_dist.distributed.comm import Reducer
from cofi_dist.sharding.reduction_tree import ReductionBlocks


@dataclass(frozen=True)
class ItemSums:
    """Sums and counts of the training ratings of all ranks, per item.

    Attributes:
        total: sum of each item's ratings, (M,) float64.
        count: number of each item's ratings, (M,) float64.
    """

    total: NDArray[np.float64]
    count: NDArray[np.float64]

    @property
    def global_mean(self) -> float:
        """The mean of all ratings; 0 if there are none."""
        return float(self.total.sum() / max(self.count.sum(), 1.0))


def item_sums(
    ratings: Ratings, num_items: int, reducer: Reducer, blocks: ReductionBlocks | None = None
) -> ItemSums:
    """Add up the training ratings of all ranks.

    Collective: all ranks call it.

    Args:
        ratings: this rank's.
        num_items: M.
        reducer: adds up the ranks' sums.
        blocks: of the rank's users, in which they are summed; None for one.
    """
    import torch  # slow, and preparing a file does without it

    users = [(0, int(ratings.user.max(initial=-1)) + 1)]
    if blocks is not None:
        users = [(run.start, run.stop) for run in blocks.users]
    of_blocks = np.zeros((len(users), 2, num_items))
    for (total, count), run in zip(of_blocks, users, strict=True):
        first, stop = np.searchsorted(ratings.user, run)
        for at in range(first, stop, AT_ONCE):
            rows = slice(at, min(at + AT_ONCE, stop))
            np.add.at(total, ratings.item[rows], ratings.value[rows])
            count[:] += np.bincount(ratings.item[rows], minlength=num_items)
    both = torch.from_numpy(of_blocks if blocks is None else blocks.subtree_sums(of_blocks))
    reducer.all_reduce_(both)
    return ItemSums(*both[0].numpy())


def item_offsets(sums: ItemSums, centre: str, damping: float | None) -> NDArray[np.float64]:
    """Return what to subtract from each item's ratings, (M,) float64.

    With the global mean m, total t and count n of an item, and k = `damping`:

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
        return (sums.total + damping * mean) / (sums.count + damping)
    seen = sums.count > 0
    return np.where(seen, sums.total / np.where(seen, sums.count, 1.0), mean)


def mean_centred(ratings: Ratings, means: NDArray[np.float64]) -> Ratings:
    """Subtract its item's mean from every rating."""
    return Ratings(ratings.user, ratings.item, ratings.value - means[ratings.item])
