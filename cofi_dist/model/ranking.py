"""Ranking metrics of a block of users.

A user's list is of the k items with the highest scores, training items left out; an item is
relevant where the user's held-out ratings say so. R is the number of a user's relevant items:

    precision  relevant items in the list / k
    recall     relevant items in the list / R
    ndcg       sum of 1 / log2(place + 1) over the relevant items in the list, / the largest such sum
               that min(k, R) items can have (Jarvelin and Kekalainen 2002, binary gains)
    map        sum of the precision at each relevant item's place in the list, / R, as trec_eval's
               map_cut does
    hit_rate   1 if the list has a relevant item

Places count from 1. Averages are over the users who have relevant items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.model.scoring import Rows, top

# U users of the block, M items.

METRICS = ("precision", "recall", "ndcg", "map", "hit_rate")


@dataclass(frozen=True)
class Cells:
    """User and item rows of cells of a (U, M) block."""

    user: Rows
    item: Rows

    def among(self, others: "Cells", num_items: int) -> NDArray[np.bool_]:
        """Which of these cells are among the others."""
        return np.isin(self.user * num_items + self.item, others.user * num_items + others.item)

    def where(self, mask: NDArray[np.bool_]) -> "Cells":
        """Those of them."""
        return Cells(self.user[mask], self.item[mask])


def ranking_metrics(
    scores: NDArray[np.float64], relevant: Cells, masked: Cells, k: int
) -> NDArray[np.float64]:
    """Each user's METRICS, (U, 5).

    Args:
        scores: (U, M); overwritten where masked.
        relevant: at least one a user, none masked.
        masked: left out of the lists.
        k: length of a list.
    """
    num_users, num_items = scores.shape
    scores[masked.user, masked.item] = -np.inf
    best = top(scores, k)
    hit = Cells(best.user, best.item).among(relevant, num_items).astype(np.float64)
    sizes = np.bincount(relevant.user, minlength=num_users)

    def by_user(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(best.user, values, minlength=num_users).astype(np.float64)

    hits_U = by_user(hit)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(sizes, k) - 1]
    before_U = np.cumsum(hits_U) - hits_U
    hits_so_far = np.cumsum(hit) - before_U[best.user]
    precisions = by_user(hit * hits_so_far / (best.place + 1))
    return np.column_stack(
        [
            hits_U / k,
            hits_U / sizes,
            by_user(hit * discount[best.place]) / ideal,
            precisions / sizes,
            hits_U > 0,
        ]
    )
