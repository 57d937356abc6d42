"""Drop users and items that have too few ratings: the k-core filter."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.preparation.spool import Spool

Mask = NDArray[np.bool_]


def k_core_filter(
    spools: Sequence[Spool], sizes: tuple[int, int], at_least: tuple[int, int]
) -> tuple[Mask, Mask, int]:
    """Find the largest set of users and items that all have enough ratings among each other.

    This is the k-core of the bipartite graph of ratings, with one threshold for users and one for items. A
    user or item that is dropped takes its ratings along, so that others may now have too few. The filter
    is therefore repeated until nothing more is dropped.

    Args:
        spools: all ratings.
        sizes: number of users and number of items.
        at_least: ratings that a user, and that an item, must have.

    Returns:
        Whether each user stays, whether each item stays, and the number of rounds.
    """
    user_stays, item_stays = (np.ones(size, np.bool_) for size in sizes)
    rounds = 0
    while True:
        rounds += 1
        per_user, per_item = (np.zeros(size, np.int64) for size in sizes)
        for spool in spools:
            for rows in spool.pieces():
                stays = user_stays[rows["user"]] & item_stays[rows["item"]]
                per_user += np.bincount(rows["user"][stays], minlength=sizes[0])
                per_item += np.bincount(rows["item"][stays], minlength=sizes[1])
        user_drops = user_stays & (per_user < at_least[0])
        item_drops = item_stays & (per_item < at_least[1])
        if not (user_drops.any() or item_drops.any()):
            return user_stays, item_stays, rounds
        user_stays &= ~user_drops
        item_stays &= ~item_drops
