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

Ranks count from 1. Averages are over the users who have relevant items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.model.scoring import RowIndices
from cofi_dist.model.top_k import top_k

# U users of a batch, M items.

METRICS = ("precision", "recall", "ndcg", "map", "hit_rate")


@dataclass(frozen=True)
class UserItemPairs:
    """Hold the user and the item row of each of some pairs, in a batch of U users and M items."""

    user: RowIndices
    item: RowIndices

    def isin(self, others: "UserItemPairs", num_items: int) -> NDArray[np.bool_]:
        """Tell for each pair whether it is one of the others."""
        return np.isin(self.user * num_items + self.item, others.user * num_items + others.item)

    def masked(self, mask: NDArray[np.bool_]) -> "UserItemPairs":
        """Return the pairs whose mask is set."""
        return UserItemPairs(self.user[mask], self.item[mask])


def ranking_metrics(
    scores: NDArray[np.float64], relevant: UserItemPairs, excluded: UserItemPairs, k: int
) -> NDArray[np.float64]:
    """Return each user's METRICS, (U, 5).

    Args:
        scores: (U, M); overwritten at the excluded pairs.
        relevant: at least one per user, none of them excluded.
        excluded: left out of the lists.
        k: length of a list.
    """
    num_users, num_items = scores.shape
    scores[excluded.user, excluded.item] = -np.inf
    best = top_k(scores, k)
    is_hit = UserItemPairs(best.user, best.item).isin(relevant, num_items).astype(np.float64)
    num_relevant_U = np.bincount(relevant.user, minlength=num_users)

    def sum_by_user(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(best.user, values, minlength=num_users).astype(np.float64)

    hits_U = sum_by_user(is_hit)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal_dcg_U = np.cumsum(discount)[np.minimum(num_relevant_U, k) - 1]
    # The running count of hits, less those of the users before, is the count within the user's own list.
    hits_of_users_before = np.cumsum(hits_U) - hits_U
    hits_so_far = np.cumsum(is_hit) - hits_of_users_before[best.user]
    summed_precision_U = sum_by_user(is_hit * hits_so_far / best.rank)
    return np.column_stack(
        [
            hits_U / k,
            hits_U / num_relevant_U,
            sum_by_user(is_hit * discount[best.rank - 1]) / ideal_dcg_U,
            summed_precision_U / num_relevant_U,
            hits_U > 0,
        ]
    )
