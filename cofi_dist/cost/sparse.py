"""The error term on the known cells only; nothing of the size items x users is ever made.

    err_ij = w_j . x_i + b_j - y_ij
    dX_i = sum_j err_ij w_j     dW_j = sum_i err_ij x_i     db_j = sum_i err_ij

M items, U users of this rank, K features, N ratings of a block.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cofi_dist.cost.kernels import PairDot, weighted_row_sum
from cofi_dist.cost.term import ErrorTerm
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shards import UserRange, UserShard
from cofi_dist.factors import Factors


@dataclass(frozen=True)
class Block:
    """A run of whole users and their ratings in both orders.

    Attributes:
        users: rows of W, from first to before last.
        user, item: row of W and of X of each rating in user order, (N,) int32.
        value: ratings, (N,), in the factors' dtype.
        user_start: where each user's ratings begin, (users + 1,) int32.
        by_item: position in user order of each rating in item order, (N,) int32.
        user_by_item: `user` in item order, (N,) int32.
        item_start: where each item's ratings begin in item order, (M + 1,) int32.
    """

    users: slice
    user: Tensor
    item: Tensor
    value: Tensor
    user_start: Tensor
    by_item: Tensor
    user_by_item: Tensor
    item_start: Tensor


class SparseCost:
    """Error term by the two primitives, block by block of users.

    A block's partial dX is added in block order, so sums don't depend on the thread count.
    """

    def __init__(self, shard: UserShard, device: torch.device, dtype: torch.dtype, pair_dot: PairDot) -> None:
        self._pair_dot = pair_dot
        self._blocks = [
            _block(users, ratings, shard.num_items, device, dtype) for users, ratings in shard.blocks()
        ]

    def __call__(self, factors: Factors) -> ErrorTerm:
        X, W, b = factors.X, factors.W, factors.b[0]
        value = torch.zeros((), dtype=self._wide(X), device=X.device)
        dX, dW, db = torch.zeros_like(X), torch.empty_like(W), torch.empty_like(b)
        ones_M1 = X.new_ones(len(X), 1)
        for block in self._blocks:
            err_N = self._pair_dot(X, W, block.item, block.user)
            err_N += b.index_select(0, block.user)
            err_N -= block.value
            value += err_N.square().sum(dtype=value.dtype)
            dX += weighted_row_sum(
                err_N.index_select(0, block.by_item), W, block.user_by_item, block.item_start
            )
            dW[block.users] = weighted_row_sum(err_N, X, block.item, block.user_start)
            db[block.users] = weighted_row_sum(err_N, ones_M1, block.item, block.user_start)[:, 0]
        return ErrorTerm(value.mul_(0.5), dX, dW, db[None])

    def squared_norm(self, matrix: Tensor) -> Tensor:
        return matrix.square().sum(dtype=self._wide(matrix))

    @staticmethod
    def _wide(like: Tensor) -> torch.dtype:
        """What sums are kept in: float64, but for mps, which has none."""
        return torch.float32 if like.device.type == "mps" else torch.float64


def _block(
    users: UserRange, ratings: Ratings, num_items: int, device: torch.device, dtype: torch.dtype
) -> Block:
    by_item = np.argsort(ratings.item, kind="stable").astype(np.int32)

    def starts(rows: np.ndarray, count: int) -> Tensor:
        return int32(np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]))

    def int32(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.astype(np.int32)).to(device)

    return Block(
        users=slice(users.start, users.stop),
        user=int32(ratings.user),
        item=int32(ratings.item),
        value=torch.from_numpy(ratings.value).to(device=device, dtype=dtype),
        user_start=starts(ratings.user - users.start, len(users)),
        by_item=int32(by_item),
        user_by_item=int32(ratings.user[by_item]),
        item_start=starts(ratings.item, num_items),
    )
