"""Compute the error term by the notebook's operations, in its order, on one rank's masked matrix.

M items, U users of this rank, K features.
"""

import numpy as np
import torch
from torch import Tensor

from cofi_dist.cost.term import ErrorTerm
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors

# Peak bytes per cell of Y: Y and R take 16, the temporaries of an epoch the rest. With float32 factors 64
# were measured (tests/cost/test_dense_memory.py); float64 factors take up to 16 more.
BYTES_PER_CELL = 80


class DenseCost:
    """Compute the error term by autograd on Y and R, (M, U); in float64, except on mps.

    On one process the numbers are the notebook's, bit for bit. Adding the regulariser's gradient after the
    reduction changes no rounding, because autograd adds it to the error's gradient in one addition too.

    Args:
        shard: this rank's ratings.
        device: where the matrices are.
        unknown_weight: a0. R holds it at the unknown pairs, whose Y is 0, and the ratings' weights elsewhere.
        user_bias: whether b is learnt; else its gradient is zero.
    """

    def __init__(
        self,
        shard: UserShard,
        device: torch.device,
        unknown_weight: float = 0.0,
        user_bias: bool = True,
    ) -> None:
        self.sums, self._user_bias = DenseSums(), user_bias
        # mps has no float64
        dtype = torch.float32 if device.type == "mps" else torch.float64
        ratings = shard.ratings
        cells = torch.from_numpy(ratings.item).long(), torch.from_numpy(ratings.user).long()
        Y = torch.zeros(shard.num_items, len(shard.users), dtype=dtype)
        R = torch.full_like(Y, unknown_weight)
        for matrix, known in ((Y, shard.targets(np.float64)), (R, shard.known_weights(np.float64))):
            # an array, or a number for all
            matrix[cells] = torch.as_tensor(known).to(dtype)
        self._Y, self._R = Y.to(device), R.to(device)

    def __call__(self, factors: Factors, *, with_cost: bool) -> ErrorTerm:
        X, W, b, *c = moved = [t.detach().requires_grad_() for t in factors.tensors]
        z = torch.matmul(X, W.T)
        z = z.add(b)
        if c:  # the notebook has none
            z = z.add(c[0].T)
        j = z.subtract(self._Y)
        j = j.pow(2)
        j = j.multiply(self._R)
        j = j.sum()
        j = j.multiply(0.5)
        dX, dW, db, *dc = torch.autograd.grad(j, moved)
        # W.T's gradient comes back transposed, and Adam's kernels round alike only on like layouts
        user_gradients = dW.contiguous(), db.contiguous() if self._user_bias else torch.zeros_like(b)
        return ErrorTerm(
            j.detach()[None] if with_cost else None,
            dX.contiguous()[None],
            lambda: user_gradients,
            # a copy, because autograd gives b and c the same tensor if the matrix is one cell
            dc[0].clone(memory_format=torch.contiguous_format)[None] if dc else None,
        )


class DenseSums:
    """Sum squares as the notebook does; this rank's users are one subtree."""

    def squares_over_users(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return sum_r weight_r |rows_r|^2 over this rank's users, (1,)."""
        return self.squares_over_items(rows, weight)[None]

    def squares_over_items(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return sum_r weight_r |rows_r|^2 over all items, 0-dim."""
        scaled = rows if weight is None else rows * weight.sqrt()[:, None]
        return scaled.pow(2).sum()
