"""The error term on the known cells by the compiled loops; the formulas are in `cofi_dist.cost.sparse`."""

import numpy as np
import torch

from cofi_dist.cost import loops
from cofi_dist.cost.looprows import Waiting, arrays_of, int32, ratings_of_tiles
from cofi_dist.cost.norms import BlockNorms, sums_of
from cofi_dist.cost.rows import NUMPY_TYPE, offsets
from cofi_dist.cost.segments import by_rows, by_tiles
from cofi_dist.cost.term import ErrorTerm
from cofi_dist.cost.threads import set_threads
from cofi_dist.data.shards import UserShard
from cofi_dist.factors import Factors


class LoopCost:
    """Error term by the compiled loops, on the CPU.

    Item by item first, for errors and dX, in tiles of users whose rows of W stay in cache; then user by
    user, for dW, from the errors.
    """

    def __init__(self, shard: UserShard, dtype: torch.dtype) -> None:
        ratings, numpy_type = shard.ratings, NUMPY_TYPE[dtype]
        self.norms = BlockNorms(shard.blocks)
        self._items, self._place = by_tiles(
            ratings.item, shard.num_items, ratings_of_tiles(shard), shard.blocks.branches
        )
        self._users = by_rows(shard.ratings_per_user())
        self._item = int32(ratings.item)
        # in the items' order; `place` says of each rating in the users' where that is
        self._user = np.empty(len(ratings), np.int32)
        self._user[self._place] = ratings.user
        self._value = shard.centred(numpy_type, self._place)
        self._err: np.ndarray | None = None  # taken when the shard, which is as large, may be gone
        self._waiting = Waiting(self._items, dtype)

    def __call__(self, factors: Factors, *, with_value: bool) -> ErrorTerm:
        X, W, b, c = factors.X, factors.W, factors.b[0], offsets(factors)
        if self._err is None:
            self._err = np.empty_like(self._value)
        dW, db = torch.zeros_like(W), torch.zeros_like(b)
        dX, dc, half_BM = self._waiting.begin(X)
        for branch, tiles in enumerate(self._items.each_branch()):
            out = arrays_of(dX[branch], dc[branch])
            given = set_threads(), *tiles, (self._user, self._value), tuple(arrays_of(W, b, X, c))
            loops.gradients(*given, (*out, half_BM), self._err, self._waiting.tree)
        by_user = set_threads(), *self._users.whole, self._item, self._place, self._err
        loops.sums(*by_user, *arrays_of(X, dW, db))
        value = self.norms.branches(sums_of(torch.from_numpy(half_BM))) if with_value else None
        return ErrorTerm(value, dX, dW, db[None], None if factors.c is None else dc[:, None])
