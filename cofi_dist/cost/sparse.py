"""The error term on the known cells only; nothing of the size items x users is ever made.

    err_ij = w_j . x_i + b_j - y_ij
    dX_i = sum_j err_ij w_j     dW_j = sum_i err_ij x_i     db_j = sum_i err_ij

With item biases, err_ij has c_i added, and dc_i = sum_j err_ij.

M items, U users of this rank, K features, N ratings of a tile.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.kernels import PairDot, weighted_row_sum
from cofi_dist.cost.norms import BlockNorms
from cofi_dist.cost.term import ErrorTerm, wide
from cofi_dist.data.shards import UserRange, UserShard, starts
from cofi_dist.factors import Factors


@dataclass(frozen=True)
class Tile:
    """A run of whole users and their ratings in both orders.

    Attributes:
        users: rows of W, from first to before last.
        item, user: row of X and of W of each rating in item order, (N,) int32.
        value: ratings in item order, (N,), in the factors' dtype.
        item_start: where each item's ratings begin in item order, (M + 1,) int32.
        by_user: place in item order of each rating in user order, (N,) int32.
        item_by_user: `item` in user order, (N,) int32.
        user_start: where each user's ratings begin in user order, (users + 1,) int32.
    """

    users: slice
    item: Tensor
    user: Tensor
    value: Tensor
    item_start: Tensor
    by_user: Tensor
    item_by_user: Tensor
    user_start: Tensor


class SparseCost:
    """Error term by the two primitives, on any device, tile by tile of users.

    Errors are computed in item order: X is then read once and in order, while a tile's rows of
    W, much fewer, stay in cache. A tile's partial dX is added in order.
    """

    def __init__(self, shard: UserShard, device: torch.device, dtype: torch.dtype, pair_dot: PairDot) -> None:
        self._pair_dot = pair_dot
        rows = max(shard.num_items, len(shard.users))
        self._ones = torch.ones(rows, 1, device=device, dtype=dtype)
        self.norms = BlockNorms(shard.blocks)
        self._tiles = [_tile(shard, users, device, dtype) for tiles in shard.tiles() for users in tiles]

    def __call__(self, factors: Factors, *, with_value: bool) -> ErrorTerm:
        X, W, b = factors.X, factors.W, factors.b[0]
        value = torch.zeros((), dtype=wide(X), device=X.device) if with_value else None
        dX, dW, db = None, torch.empty_like(W), torch.empty_like(b)
        dc = None if factors.c is None else torch.zeros_like(factors.c)
        for tile in self._tiles:
            err_N = self._pair_dot(X, W, tile.item, tile.user)
            err_N += b.index_select(0, tile.user)
            if factors.c is not None:
                err_N += factors.c[0].index_select(0, tile.item)
            err_N -= tile.value
            if value is not None:
                value += err_N.square().sum(dtype=value.dtype) / 2
            part_MK = weighted_row_sum(err_N, W, tile.user, tile.item_start)
            dX = part_MK if dX is None else dX.add_(part_MK)
            if dc is not None:
                dc += weighted_row_sum(err_N, self._ones, tile.user, tile.item_start).T
            err_N = err_N.index_select(0, tile.by_user)
            item, start = tile.item_by_user, tile.user_start
            dW[tile.users] = weighted_row_sum(err_N, X, item, start)
            db[tile.users] = weighted_row_sum(err_N, self._ones, item, start)[:, 0]
        assert dX is not None, "a shard has at least one tile"
        parts = None if value is None else value[None], dX[None], dW, db[None]
        return ErrorTerm(*parts, None if dc is None else dc[None])


def _tile(shard: UserShard, users: UserRange, device: torch.device, dtype: torch.dtype) -> Tile:
    def int32(array: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(array.astype(np.int32)).to(device)

    rows = slice(*np.searchsorted(shard.ratings.user, [users.start, users.stop]))
    user, item = shard.ratings.user[rows], shard.ratings.item[rows]
    item_order = np.argsort(item, kind="stable")
    by_user = np.empty_like(item_order)
    by_user[item_order] = np.arange(len(item_order))
    return Tile(
        users=slice(users.start, users.stop),
        item=int32(item[item_order]),
        user=int32(user[item_order]),
        value=torch.from_numpy(shard.centred()[rows][item_order]).to(device=device, dtype=dtype),
        item_start=int32(starts(np.bincount(item, minlength=shard.num_items))),
        by_user=int32(by_user),
        item_by_user=int32(item),
        user_start=int32(starts(np.bincount(user - users.start, minlength=len(users)))),
    )
