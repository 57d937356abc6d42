"""Users and items with too few ratings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.preparation.spool import Spool

Kept = NDArray[np.bool_]


def k_core_filter(
    spools: Sequence[Spool], sizes: tuple[int, int], least: tuple[int, int]
) -> tuple[Kept, Kept, int]:
    """The users and items that stay when every one with too few ratings goes.

    What goes takes its ratings along, so that others may get too few: it is repeated until every
    user and item that stays has its least number of ratings among those that stay.

    Args:
        spools: of all ratings.
        sizes: number of users and of items.
        least: ratings that a user, and an item, must have.

    Returns:
        Whether each user and each item stays, and the rounds that it took.
    """
    user_ok, item_ok = (np.ones(size, np.bool_) for size in sizes)
    rounds = 0
    while True:
        rounds += 1
        per_user, per_item = (np.zeros(size, np.int64) for size in sizes)
        for spool in spools:
            for rows in spool.pieces():
                stay = user_ok[rows["user"]] & item_ok[rows["item"]]
                per_user += np.bincount(rows["user"][stay], minlength=sizes[0])
                per_item += np.bincount(rows["item"][stay], minlength=sizes[1])
        user_goes, item_goes = user_ok & (per_user < least[0]), item_ok & (per_item < least[1])
        if not (user_goes.any() or item_goes.any()):
            return user_ok, item_ok, rounds
        user_ok &= ~user_goes
        item_ok &= ~item_goes
