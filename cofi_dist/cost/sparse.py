"""Compute the error term as sums over the known ratings only, and the Gram term of the unknown pairs."""

import numpy as np
import torch
from torch import Tensor

from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.term import ErrorTerm
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import NUMPY_TYPE, Csr, Side, WeightedCsr
from cofi_dist.kernels.block_sums import ordered_row_sums
from cofi_dist.kernels.gram import add_gram_product
from cofi_dist.kernels.item_blocks import ItemBlocks
from cofi_dist.kernels.rating_matrix import Backend, RatingMatrix
from cofi_dist.sharding.item_shards import ItemShards


def build_rating_matrix(
    shard: UserShard,
    device: torch.device,
    dtype: torch.dtype,
    *,
    unknown_weight: float = 0.0,
    tiled: bool = True,
    backend: Backend | None = None,
) -> RatingMatrix:
    """Return a rank's ratings in both orders, less their items' means; the shard is no longer needed then.

    Args:
        shard: the rank's ratings.
        device: where they are summed.
        dtype: of the factors.
        unknown_weight: a0.
        tiled: as for `RatingMatrix`.
        backend: as for `RatingMatrix`.
    """
    csr = csr_of(shard, dtype, unknown_weight)
    return RatingMatrix(csr, shard.num_items, shard.blocks, device, dtype, tiled=tiled, backend=backend)


def build_item_blocks(
    shard: UserShard,
    item_shards: ItemShards,
    device: torch.device,
    dtype: torch.dtype,
    *,
    unknown_weight: float = 0.0,
    backend: Backend | None = None,
) -> ItemBlocks:
    """Return a rank's ratings as `build_rating_matrix` does, cut into blocks of items.

    Args:
        shard: the rank's ratings.
        item_shards: the blocks.
        device: where they are summed.
        dtype: of the factors.
        unknown_weight: a0.
        backend: as for `RatingMatrix`.
    """
    csr = csr_of(shard, dtype, unknown_weight)
    return ItemBlocks(csr, item_shards, shard.blocks, device, dtype, backend=backend)


def csr_of(shard: UserShard, dtype: torch.dtype, unknown_weight: float) -> Csr | WeightedCsr:
    """Return a rank's ratings, user by user, less their items' means."""
    number = NUMPY_TYPE[dtype]
    indptr, items = shard.indptr(), shard.ratings.item.astype(np.int32, copy=False)
    values, weights = shard.targets(number), shard.known_weights(number)
    is_plain = not unknown_weight and np.ndim(weights) == 0 and weights == 1
    if is_plain and isinstance(values, np.ndarray):
        return Csr(indptr, items, values)
    return WeightedCsr(indptr, items, values, weights, number(unknown_weight))


def unknown_pairs(ratings: RatingMatrix | ItemBlocks, unknown_weight: float) -> UnknownPairs | None:
    """Return the term of the unknown pairs; None if they have no weight."""
    return UnknownPairs(unknown_weight, ratings.sums) if unknown_weight else None


def half_squared_error(
    ratings: RatingMatrix, factors: Factors, unknown: UnknownPairs | None = None
) -> Tensor:
    """Return half the squared error over this rank's ratings and unknown pairs, per subtree, (T,) float64."""
    half_U = ratings.by_user.half_squared_errors(*sides_of(factors))
    if unknown is None:
        return ratings.sums.sum_over_users(half_U)
    of_blocks = unknown.value(unknown.gram_of_users(factors), unknown.gram_of_items(factors))
    return ratings.sums.sum_over_users(half_U, of_blocks)


class SparseCost:
    """Compute the error term from each row's known ratings, and from Gram matrices for the unknown pairs.

    Each side computes the errors anew: keeping them for the other side, and gathering them in its order,
    takes longer.

    Args:
        ratings: this rank's ratings.
        unknown: the unknown pairs; None if they have no weight.
        user_bias: whether b is learnt; else its gradient is zero.
    """

    def __init__(
        self, ratings: RatingMatrix, unknown: UnknownPairs | None = None, *, user_bias: bool = True
    ) -> None:
        self._ratings, self._unknown, self._user_bias = ratings, unknown, user_bias
        self.sums = ratings.sums

    def __call__(self, factors: Factors, *, with_cost: bool) -> ErrorTerm:
        users, items = sides_of(factors)
        dX, dc, half_BM = self._ratings.by_item.error_gradients(items, users)
        half_B = ordered_row_sums(half_BM) if with_cost else None
        dc_or_none = None if factors.c is None else dc[:, None]
        if self._unknown is None:
            value = None if half_B is None else self.sums.sum_subtrees(half_B)
            return ErrorTerm(value, dX, lambda: self._user_gradients(factors, None), dc_or_none)
        gram_W, gram_X = self._unknown.gram_of_users(factors), self._unknown.gram_of_items(factors)
        if half_B is not None:
            half_B = half_B + self._unknown.value(gram_W, gram_X)
        of_items = self._unknown.scaled(gram_X, factors)
        # rounded before the blocks are added, as it is on any number of ranks
        of_users = self.sums.sum_subtrees(self._unknown.scaled(gram_W, factors))
        return ErrorTerm(
            None if half_B is None else self.sums.sum_subtrees(half_B),
            dX,
            lambda: self._user_gradients(factors, of_items),
            dc_or_none,
            of_users,
            # the sums are in the first subtree by then
            lambda: self._add_gram_product(Side(dX[0], dc[0]), items, of_users[0]),
        )

    def _user_gradients(self, factors: Factors, gram: Tensor | None) -> tuple[Tensor, Tensor]:
        users, items = sides_of(factors)
        dW, db, _ = self._ratings.by_user.error_gradients(users, items)
        if gram is not None:
            self._add_gram_product(Side(dW[0], db[0]), users, gram)
        return dW[0], db if self._user_bias else db.zero_()

    def _add_gram_product(self, sums: Side[Tensor], rows: Side[Tensor], gram: Tensor) -> None:
        add_gram_product(sums, rows, gram, constant=1, fixes_order=self._ratings.by_user.fixes_order)
