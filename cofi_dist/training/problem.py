"""Load the data that one rank trains on, and tell how it relates to the other ranks' data."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
from cofi_dist.distributed.comm import Comm, Reducer
from cofi_dist.errors import ConfigError
from cofi_dist.optim.item_pass import ItemPass
from cofi_dist.sharding.item_shards import ItemShards, Number, automatic_block, smallest_block
from cofi_dist.sharding.partition import UserPartition
from cofi_dist.sharding.ranges import UserRange


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Describe the data that one rank trains on.

    Attributes:
        config: the configuration of the run.
        device: where this rank computes.
        source: where ratings are read from.
        ratings_per_user: training ratings of every user of all ranks, (num_users,).
        partition: the users of every rank, and the blocks in which they are summed.
        rank: the number of this rank.
        user_counts: training ratings of each of this rank's users, (U,).
        item_sums: sums over the training ratings of all ranks, by item.
        item_offsets: the number that was subtracted from the ratings of each item, (num_items,).
        fingerprint: a checksum of the source.
        ids: digests of the source's id maps.
        reducer: sums over the users of all ranks.
        item_shards: which items every rank owns; None if X is whole on every rank.
    """

    config: Config
    device: torch.device
    source: Source
    ratings_per_user: NDArray[np.int64]
    partition: UserPartition
    rank: int
    user_counts: NDArray[np.int64]
    item_sums: ItemSums
    item_offsets: NDArray[np.float64]
    fingerprint: str
    ids: dict[str, str]
    reducer: Reducer
    item_shards: ItemShards | None = None

    @property
    def ranges(self) -> Sequence[UserRange]:
        """Return the users of every rank."""
        return self.partition.ranges

    @property
    def users(self) -> UserRange:
        """Return the users of this rank."""
        return self.ranges[self.rank]

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the factors; mps has no float64."""
        is_wide = self.config.train.dtype == "float64" and self.device.type != "mps"
        return torch.float64 if is_wide else torch.float32

    @property
    def item_curvature(self) -> NDArray[np.float64]:
        """Return sum d_n (`cofi_dist.kernels.base`) over each item's training ratings, (num_items,)."""
        sums, alpha = self.item_sums, self.config.train.alpha
        weight = sums.weight if alpha is None else sums.count + alpha * sums.total
        return weight - self.config.train.unknown_weight * sums.count

    @cached_property
    def item_pass(self) -> ItemPass | None:
        """Return what lets sharded items go by; all that use it share its memory."""
        if self.item_shards is None:
            return None
        return ItemPass(self.item_shards, has_bias=self.config.model.item_bias)

    @property
    def own_item_ranges(self) -> Sequence[UserRange] | None:
        """Return the items that this rank owns; None if all items are on every rank."""
        return None if self.item_shards is None else self.item_shards.owned()

    def own_items(self, of_items: NDArray[Number]) -> NDArray[Number]:
        """Return an array with a row for each item of this rank, of one with a row for each item."""
        return of_items if self.item_shards is None else self.item_shards.own_rows(of_items)

    @property
    def num_ratings(self) -> int:
        """Return the number of training ratings of all ranks."""
        return int(self.item_sums.count.sum())


def load_problem(config: Config, store: Path, device: torch.device, comm: Comm) -> tuple[Problem, UserShard]:
    """Open the source and load this rank's training ratings.

    Collective: all ranks call it. The ratings are returned beside the problem, because they may be freed once
    the cost, which keeps them in an order of its own, is made of them.

    Args:
        config: the configuration of the run.
        store: where a ratings file was prepared.
        device: where this rank computes.
        comm: the ranks.

    Raises:
        CofiError: the data can't be used.
    """
    source = open_source(config.data, store)
    num_items, ratings_per_user = source.num_items, source.ratings_per_user()
    digest = hashlib.sha256(ratings_per_user.tobytes()).hexdigest()
    comm.require_same([source.num_users, num_items, digest], "what is read of the ratings")
    partition, reducer = _partition_users(config, ratings_per_user, comm)
    users, blocks = partition.ranges[comm.rank], partition.local_blocks(comm.rank)
    ratings = source.load(users)
    sums = source.item_sums or item_sums(ratings, num_items, reducer, blocks)
    centre, damping = (config.data.centre, config.data.damping) if config.data.centre else source.centre
    offsets = item_offsets(sums, centre, damping)
    shard = UserShard(users, num_items, ratings, blocks, offsets, config.train.alpha)
    problem = Problem(
        config=config,
        device=device,
        source=source,
        ratings_per_user=ratings_per_user,
        partition=partition,
        rank=comm.rank,
        user_counts=shard.ratings_per_user(),
        item_sums=sums,
        item_offsets=offsets,
        fingerprint=comm.from_rank_zero(source.fingerprint),
        ids=comm.from_rank_zero(lambda: digests(source.ids)),
        reducer=reducer,
        item_shards=_shard_items(config, num_items, comm),
    )
    return problem, shard


def _shard_items(config: Config, num_items: int, comm: Comm) -> ItemShards | None:
    """Decide which rank owns which items, if the config shards them."""
    train = config.train
    if train.items == "replicated":
        return None
    bytes_per_item = np.dtype(train.dtype).itemsize * config.model.num_features
    block = train.item_block or automatic_block(num_items, bytes_per_item, comm.world_size)
    if block < (least := smallest_block(num_items, comm.world_size)):
        raise ConfigError(
            f"train.item_block: {block} cuts {num_items} items into too many blocks; set at least {least}",
            shared=True,
        )
    return ItemShards(num_items, block, comm.world_size, comm.rank)


def _partition_users(
    config: Config, ratings_per_user: NDArray[np.int64], comm: Comm
) -> tuple[UserPartition, Reducer]:
    """Decide which rank has which users, and how their sums are reduced."""
    blocks = config.train.blocks
    partition = UserPartition.balanced(ratings_per_user, comm.world_size, blocks)
    return partition, comm if blocks is None else comm.tree_reducer(partition.subtrees)
