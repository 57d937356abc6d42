"""Decide a list's items and their order, by float64 scores that no shape of a batch can change.

The score of item i for user j is a sum in one order, each product and each sum rounded to float64:

    (((x_i1 w_j1 + x_i2 w_j2) + x_i3 w_j3) + ... + x_iK w_jK) + b_j + o_i

A matrix product rounds differently with the shape of the batch, the number of threads and the device. So it
may find candidates (`cofi_dist.ranking.ranker`), and `settle` alone decides.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.ranking.pairs import UserItemPairs

# U users of a batch, M items, K features, C candidates.

# Scores that agree to this many decimals are tied, and the lower item row comes first.
TIE_DECIMALS = 10

CANDIDATES_AT_ONCE = 2**9  # so few that their features stay in cache


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


def pair_scores(
    X: NDArray[np.float64],
    offset: NDArray[np.float64],
    w: NDArray[np.float64],
    b: NDArray[np.float64],
    pairs: UserItemPairs,
) -> NDArray[np.float64]:
    """Return the scores of some pairs as defined above, (C,).

    Args:
        X: item features, (M, K).
        offset: o, (M,).
        w: user weights, (U, K).
        b: user biases, (U,).
        pairs: rows of w and of X, (C,) each.
    """
    user, item = pairs.user, pairs.item
    scores = np.empty(len(user))
    for start in range(0, len(user), CANDIDATES_AT_ONCE):
        some = slice(start, start + CANDIDATES_AT_ONCE)
        terms = np.ascontiguousarray((X[item[some]] * w[user[some]]).T)
        scores[some] = _sums_in_order(terms)
    return scores + b[user] + offset[item]


def _sums_in_order(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each column, row by row, in one call, during which other threads may call numpy, too.

    Only along the axis that is contiguous in memory does numpy add in another order, by halves: of a single
    column, that is this axis.
    """
    if terms.shape[1] == 1:
        return np.add.accumulate(terms[:, 0])[-1:]
    sums: NDArray[np.float64] = np.add.reduce(terms, axis=0)
    return sums


def settle(candidates: UserItemPairs, scores: NDArray[np.float64], k: int) -> TopK:
    """Return the k best of each user's candidates, by score to TIE_DECIMALS, then by item row.

    What scores -inf or nan is in no list.

    Args:
        candidates: pairs among which are the lists', each once, in any order.
        scores: of the candidates, (C,).
        k: at least 1.
    """
    is_listed = scores > -np.inf
    user, item, scores = candidates.user[is_listed], candidates.item[is_listed], scores[is_listed]
    with np.errstate(over="ignore"):  # too large to be rounded
        order = np.lexsort((item, -np.round(scores, TIE_DECIMALS), user))
    user = user[order]
    counts = np.bincount(user)
    rank = np.arange(1, len(user) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = rank <= k
    order = order[kept]
    return TopK(user[kept], item[order], rank[kept], scores[order])
