"""The error term on the known cells by the compiled loops; the formulas are in `cofi_dist.cost.sparse`."""

import numpy as np
import torch
from torch import Tensor

from cofi_dist.cost import loops
from cofi_dist.cost.looprows import NUMPY_TYPE, arrays_of, int32, set_threads
from cofi_dist.cost.rows import offsets
from cofi_dist.cost.segments import by_blocks, by_rows
from cofi_dist.cost.term import ErrorTerm, wide
from cofi_dist.data.shards import UserShard
from cofi_dist.factors import Factors


class LoopCost:
    """Error term by the compiled loops, on the CPU.

    Item by item first, for errors and dX, in blocks of users whose rows of W stay in cache; then user by
    user, for dW, from the errors.
    """

    def __init__(self, shard: UserShard, dtype: torch.dtype) -> None:
        ratings, numpy_type = shard.ratings, NUMPY_TYPE[dtype]
        self._items, order = by_blocks(ratings.item, shard.num_items, shard.block_ratings())
        self._users = by_rows(shard.ratings_per_user())
        self._item, self._user = int32(ratings.item), int32(ratings.user)[order]
        self._value = ratings.value.astype(numpy_type)[order]
        self._err = np.empty(len(order), numpy_type)
        # of each rating in the users' order, where its error is
        self._place = np.empty_like(order)
        self._place[order] = np.arange(len(order), dtype=order.dtype)

    def __call__(self, factors: Factors, *, with_value: bool) -> ErrorTerm:
        X, W, b, c = factors.X, factors.W, factors.b[0], offsets(factors)
        dX, dc, dW, db = (torch.zeros_like(factor) for factor in (X, c, W, b))
        half = np.zeros(len(X))
        given = set_threads(), *self._items.arrays, self._user, self._value
        loops.gradients(*given, *arrays_of(W, b, X, c, dX, dc), half, self._err)
        by_user = set_threads(), *self._users.arrays, self._item, self._place, self._err
        loops.sums(*by_user, *arrays_of(X, dW, db))
        value = torch.from_numpy(half).sum() if with_value else None
        return ErrorTerm(value, dX, dW, db[None], None if factors.c is None else dc[None])

    def squared_norm(self, matrix: Tensor) -> Tensor:
        return matrix.square().sum(dtype=wide(matrix))
