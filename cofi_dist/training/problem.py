"""What one rank works on: its ratings, its cost, its held-out ratings; and the model that comes of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cofi_dist.config import Config
from cofi_dist.data.ids import digests
from cofi_dist.data.item_means import ItemSums, item_offsets, item_sums
from cofi_dist.data.shard import UserShard
from cofi_dist.data.sources.base import Source
from cofi_dist.data.sources.open import open_source
from cofi_dist.distributed import Comm, OrderedSums, SoloComm, Sums
from cofi_dist.sharding.partition import UserPartition
from cofi_dist.sharding.ranges import UserRange


@dataclass(frozen=True)
class Problem:
    """What one rank works on.

    Attributes:
        per_user: ratings of every user of every rank, (num_users,).
        spread: every rank's users, and in which blocks they are summed.
        rank: this one.
        counts: training ratings of each of them, (U,).
        sums: of the training ratings of all ranks, by item.
        means: what was removed, (num_items,).
        fingerprint: of the source.
        ids: digests of its id maps.
        total: sums over all users.
    """

    config: Config
    device: torch.device
    source: Source
    per_user: NDArray[np.int64]
    spread: UserPartition
    rank: int
    counts: NDArray[np.int64]
    sums: ItemSums
    means: NDArray[np.float64]
    fingerprint: str
    ids: dict[str, str]
    total: Sums

    @property
    def ranges(self) -> Sequence[UserRange]:
        """Every rank's users."""
        return self.spread.ranges

    @property
    def users(self) -> UserRange:
        """This rank's."""
        return self.ranges[self.rank]

    @property
    def dtype(self) -> torch.dtype:
        """Of the factors; mps has no float64."""
        return (
            torch.float64
            if self.config.train.dtype == "float64" and self.device.type != "mps"
            else torch.float32
        )

    @property
    def num_ratings(self) -> int:
        """For training, of all ranks."""
        return int(self.sums.count.sum())


def load_problem(config: Config, store: Path, device: torch.device, comm: Comm) -> tuple[Problem, UserShard]:
    """Open the source, and load this rank's training ratings; the cost is made of them, then they may go.

    Collective: all ranks call it.

    Args:
        config: of the run.
        store: where a ratings file was prepared.
        device: of this rank.
        comm: the ranks.

    Raises:
        CofiError: the data can't be used.
    """
    source = open_source(config.data, store)
    num_items, per_user = source.num_items, source.ratings_per_user()
    seen: list[int | str] = [source.num_users, num_items, hashlib.sha256(per_user.tobytes()).hexdigest()]
    comm.require_same(seen, "what is read of the ratings")
    spread, total = _spread(config, per_user, comm)
    users, blocks = spread.ranges[comm.rank], spread.local_blocks(comm.rank)
    ratings = source.load(users)
    sums = source.sums or item_sums(ratings, num_items, total, blocks)
    centre, damping = (config.data.centre, config.data.damping) if config.data.centre else source.centre
    means = item_offsets(sums, centre, damping)
    shard = UserShard(users, num_items, ratings, means, blocks)
    fingerprint, ids = comm.on_first(source.fingerprint), comm.on_first(lambda: digests(source.ids))
    counts = shard.ratings_per_user()
    given = config, device, source, per_user, spread, comm.rank, counts, sums, means, fingerprint, ids, total
    return Problem(*given), shard


def _spread(config: Config, per_user: NDArray[np.int64], comm: Comm) -> tuple[UserPartition, Sums]:
    """Who has which users, and how what they add up to is put together."""
    blocks = config.train.blocks
    if blocks is None:
        return UserPartition.balanced(per_user, comm.world_size, None), comm
    spread = UserPartition.balanced(per_user, comm.world_size, blocks)
    return spread, comm if isinstance(comm, SoloComm) else OrderedSums(comm, spread.subtrees)
