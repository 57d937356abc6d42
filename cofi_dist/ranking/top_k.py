"""Select the k best items of each user from a matrix of scores."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

# U users of a batch, M items.

# Scores that agree to this many decimals are tied, and the lower item row comes first. The rounding of a
# matrix product depends on the shape of the batch, and must not decide the order.
TIE_DECIMALS = 10


@dataclass(frozen=True)
class TopK:
    """List the best items of a batch's users, user by user and best first.

    The lists differ in length, so they are stored flat: entry n of each array belongs to one listed item.

    Attributes:
        user: row in the batch.
        item: row of X.
        rank: position in the user's list, from 1.
        score: not clipped.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    rank: NDArray[np.int64]
    score: NDArray[np.float64]


def top_k(scores: NDArray[np.float64], k: int) -> TopK:
    """Return the k best items of each row, by score to TIE_DECIMALS, then by item row.

    Args:
        scores: (U, M); -inf leaves an item out, so a row may have fewer than k.
        k: at least 1.
    """
    num_users, num_items = scores.shape
    # Rounding keeps the order, so the k-th best rounded score is the k-th best score, rounded.
    # What is not even near it cannot reach it by rounding, and need not be rounded.
    kth = torch.from_numpy(scores).topk(min(k, num_items), dim=1).values[:, -1].numpy()
    is_full = kth > -np.inf
    nearness = 10.0**-TIE_DECIMALS + 4 * np.spacing(np.abs(kth, where=is_full, out=np.zeros(num_users)))
    floor = np.where(is_full, kth - nearness, np.finfo(np.float64).min)
    user, item = np.divmod(np.flatnonzero(scores >= floor[:, None]), num_items)
    rounded = np.round(scores[user, item], TIE_DECIMALS)
    # Every item that scores at least as high as the k-th best is a candidate: k of them, or more with ties.
    is_candidate = rounded >= np.round(kth, TIE_DECIMALS)[user]
    user, item, rounded = user[is_candidate], item[is_candidate], rounded[is_candidate]
    # The candidates of a user are in ascending order, and the sort is stable, so ties stay in that order.
    order = np.lexsort((-rounded, user))
    user, item = user[order], item[order]
    counts = np.bincount(user, minlength=num_users)
    list_start = np.cumsum(counts) - counts
    rank = np.arange(1, len(user) + 1) - np.repeat(list_start, counts)
    kept = rank <= k
    user, item, rank = user[kept], item[kept], rank[kept]
    return TopK(user, item, rank, scores[user, item])
