"""Item means: subtracted before training, added back to every prediction."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings


class Sums(Protocol):
    """The part of a communicator that the means need."""

    def sum_(self, *tensors: torch.Tensor) -> None: ...


def item_means(ratings: Ratings, num_items: int, comm: Sums) -> NDArray[np.float64]:
    """Mean of each item's ratings over all ranks; the global mean for an item without any.

    Collective: all ranks call it.

    Args:
        ratings: this rank's.
        num_items: M.
        comm: sums over the ranks.

    Returns:
        (M,) float64.
    """
    # bincount of nothing gives integers, weights or not, and a rank may have no ratings
    total, count = (
        torch.from_numpy(np.bincount(ratings.item, weights, minlength=num_items).astype(np.float64))
        for weights in (ratings.value, None)
    )
    comm.sum_(total, count)
    overall = float(total.sum() / count.sum())
    means: NDArray[np.float64] = torch.where(count > 0, total / count, overall).numpy()
    return means


def centred(ratings: Ratings, means: NDArray[np.float64]) -> Ratings:
    """The same ratings less their item's mean."""
    return Ratings(ratings.user, ratings.item, ratings.value - means[ratings.item])
