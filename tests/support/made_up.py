"""What holds for everything that is made up from a seed."""

import numpy as np
from hypothesis import strategies as st

from cofi_dist.data.ratings import Ratings
from cofi_dist.data.sources.base import UnsplitSource
from cofi_dist.sharding.ranges import UserRange


def assert_any_part_is_cut_from_the_whole(made_up: UnsplitSource, data: st.DataObject) -> Ratings:
    """Every cell comes once, in order, and any range of users has its part of them; returns the whole."""
    num_users = made_up.num_users
    whole = made_up.load(UserRange(0, num_users))
    cells = whole.user.astype(int) * made_up.num_items + whole.item
    assert (np.diff(cells) > 0).all(), "every cell once, in user then item order"
    users = UserRange(start := data.draw(st.integers(0, num_users)), data.draw(st.integers(start, num_users)))
    part, mine = made_up.load(users), (whole.user >= users.start) & (whole.user < users.stop)
    assert np.array_equal(part.user + users.start, whole.user[mine])
    assert np.array_equal(part.item, whole.item[mine])
    assert np.array_equal(part.value, whole.value[mine])
    return whole
