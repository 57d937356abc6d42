"""Say how large a problem is, and what one rank has of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from cofi_dist.sharding.ranges import UserRange


@dataclass(frozen=True, kw_only=True)
class Share:
    """Say how large a problem is, and what one rank has of it.

    Attributes:
        num_users, num_items: of all ranks.
        users, ratings: of this rank; U and N.
        held_out: validation ratings of this rank.
        world_size: number of ranks.
        rank: the number of this rank.
        on_one_machine: whether all ranks are.
    """

    num_users: int
    num_items: int
    users: int
    ratings: int
    held_out: int = 0
    world_size: int = 1
    rank: int = 0
    on_one_machine: bool = True

    @classmethod
    def of_rank(
        cls, ranges: Sequence[UserRange], ratings: Sequence[int], num_items: int, rank: int
    ) -> "Share":
        """Return a rank's share, given the users of each rank and the number of their ratings."""
        return cls(
            num_users=ranges[-1].stop,
            num_items=num_items,
            users=len(ranges[rank]),
            ratings=ratings[rank],
            world_size=len(ranges),
            rank=rank,
        )

    @classmethod
    def even(
        cls,
        num_users: float,
        num_items: float,
        num_ratings: float,
        world_size: int = 1,
        *,
        on_one_machine: bool = True,
    ) -> "Share":
        """Return rank 0's share if users and ratings are spread evenly."""
        users, ratings = -(-int(num_users) // world_size), -(-int(num_ratings) // world_size)
        return cls(
            num_users=int(num_users),
            num_items=int(num_items),
            users=users,
            ratings=ratings,
            world_size=world_size,
            on_one_machine=on_one_machine,
        )
