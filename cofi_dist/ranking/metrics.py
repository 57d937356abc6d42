"""Compute the ranking metrics of a batch of users.

A user's list holds the k items with the highest scores, without the user's training items. An item is
relevant if the user's held-out ratings make it so; a user has num_relevant such items:

    precision  relevant items in the list / k
    recall     relevant items in the list / num_relevant
    ndcg       sum of 1 / log2(rank + 1) over the relevant items in the list, divided by the largest such
               sum that min(k, num_relevant) items can have (Jarvelin and Kekalainen 2002, binary gains)
    map        sum of the precision at the rank of each relevant item in the list, divided by
               num_relevant, as in trec_eval's map_cut
    hit_rate   1 if the list has a relevant item, else 0
    mrr        1 / rank of the first relevant item in the list, 0 if there is none

Ranks count from 1. Averages are over the users who have relevant items.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.top_k import TopK

# U users of a batch, V of them with relevant items, M items.

METRICS = ("precision", "recall", "ndcg", "map", "hit_rate", "mrr")
TITLES = {
    "precision": "precision",
    "recall": "recall",
    "ndcg": "NDCG",
    "map": "MAP",
    "hit_rate": "hit rate",
    "mrr": "MRR",
}


@dataclass(frozen=True)
class RankedUsers:
    """Hold the lists of the users of a batch that have relevant items, and their metrics.

    Attributes:
        users: rows in the batch, (V,), ascending.
        metrics: METRICS of each, (V, 6).
        lists: of each; its `user` counts among these users.
    """

    users: NDArray[np.int64]
    metrics: NDArray[np.float64]
    lists: TopK


def rank_users(
    best: Callable[[NDArray[np.int64], UserItemPairs], TopK],
    relevant: UserItemPairs,
    training: UserItemPairs,
    shape: tuple[int, int],
    k: int,
) -> RankedUsers:
    """Rank all items for each user of a batch that has relevant items; the others are not scored.

    Args:
        best: returns the lists of some users of the batch, (V,), without pairs whose `user` counts among
            these.
        relevant: the users' relevant items, in order of users, then items; none of them is a training item.
        training: the users' training items, which lists leave out.
        shape: U and M.
        k: length of a list.
    """
    num_users, num_items = shape
    num_relevant_U = np.bincount(relevant.user, minlength=num_users)
    users = np.flatnonzero(num_relevant_U)
    row_of_user = np.full(num_users, -1)
    row_of_user[users] = np.arange(len(users))
    training_row = row_of_user[training.user]
    lists = best(users, UserItemPairs(training_row, training.item).masked(training_row >= 0))
    wanted = UserItemPairs(row_of_user[relevant.user], relevant.item)
    is_hit = UserItemPairs(lists.user, lists.item).isin(wanted, num_items)
    return RankedUsers(users, _metrics(lists, is_hit.astype(np.float64), num_relevant_U[users], k), lists)


def _metrics(
    lists: TopK, is_hit: NDArray[np.float64], num_relevant_V: NDArray[np.int64], k: int
) -> NDArray[np.float64]:
    """Return METRICS of each list, (V, 6); every user has a relevant item."""
    num_users = len(num_relevant_V)

    def sum_by_user(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(lists.user, values, minlength=num_users).astype(np.float64)

    hits_V = sum_by_user(is_hit)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal_dcg_V = np.cumsum(discount)[np.minimum(num_relevant_V, k) - 1]
    # The running count of hits, less those of the users before, is the count within the user's own list.
    hits_of_users_before = np.cumsum(hits_V) - hits_V
    hits_so_far = np.cumsum(is_hit) - hits_of_users_before[lists.user]
    summed_precision_V = sum_by_user(is_hit * hits_so_far / lists.rank)
    is_first_hit = is_hit * (hits_so_far == 1)
    return np.column_stack(
        [
            hits_V / k,
            hits_V / num_relevant_V,
            sum_by_user(is_hit * discount[lists.rank - 1]) / ideal_dcg_V,
            summed_precision_V / num_relevant_V,
            hits_V > 0,
            sum_by_user(is_first_hit / lists.rank),
        ]
    )
