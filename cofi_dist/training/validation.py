"""Validation while training: how well the factors predict held-out ratings, and the best of them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.data.ratings import Ratings
from cofi_dist.distributed.comm import Reducer
from cofi_dist.factors import Factors
from cofi_dist.kernels.block_sums import BlockSums, ordered_sum
from cofi_dist.kernels.torch_ops.primitives import pair_dot
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from cofi_dist.training.metrics import Accuracy

# Held-out ratings predicted at once: their float64 temporaries stay below 50 MB.
CHUNK = 2**20


class Validation:
    """One rank's held-out ratings, and when they are looked at.

    Args:
        ratings: as the users gave them, not centred; `user` counts from the rank's first.
        item_means: what was taken off each item's training ratings, (num_items,).
        scale: lowest and highest rating; predictions are clipped to it. May be infinite.
        device: of the factors.
        blocks: of the rank's users, in which errors are summed; None for one.
        every: epochs from one validation to the next.
        patience: validations without a lower RMSE after which training stops; None for never.
    """

    def __init__(
        self,
        ratings: Ratings,
        item_means: NDArray[np.float64],
        scale: tuple[float, float],
        device: torch.device,
        blocks: ReductionBlocks | None = None,
        *,
        every: int,
        patience: int | None = None,
    ) -> None:
        self.patience, self._every = patience, every
        self._scale = scale
        self._block_sums = BlockSums(blocks or ReductionBlocks.single(int(ratings.user.max(initial=0)) + 1))
        ends = [(users.start, users.stop) for users in self._block_sums.blocks.users]
        self._rows = [slice(*np.searchsorted(ratings.user, end)) for end in ends]
        self._dtype = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
        self._item, self._user = (torch.from_numpy(row).to(device) for row in (ratings.item, ratings.user))
        self._mean, self._value = (
            torch.from_numpy(array).to(device, self._dtype)
            for array in (item_means[ratings.item], ratings.value)
        )

    def is_due(self, epoch: int) -> bool:
        """Whether the factors are validated before this epoch's step."""
        return epoch % self._every == 0

    def accuracy(self, factors: Factors, sums: Reducer) -> Accuracy:
        """Of clip(w_j . x_i + b_j + c_i + mean_i) over all ranks' held-out ratings.

        From sums over all ratings, in float64. Collective: all ranks call it, and all get the same.

        Args:
            factors: X (and c) and this rank's W and b.
            sums: over all users. One of the ranks at least holds a rating.
        """
        found = self._value.new_zeros(len(self._rows), 3)
        for block, rows in zip(found, self._rows, strict=True):
            for at in range(rows.start, rows.stop, CHUNK):
                err_N = self._errors(factors, slice(at, min(at + CHUNK, rows.stop)))
                block[0] += ordered_sum(err_N.square())
                block[1] += ordered_sum(err_N.abs())
                block[2] += len(err_N)
        squares, absolutes, count = sums.all_reduce_scalars(*self._block_sums.sum_subtrees(found).unbind(1))
        return Accuracy((squares / count).sqrt().item(), (absolutes / count).item())

    def _errors(self, factors: Factors, rows: slice) -> Tensor:
        item, user = self._item[rows], self._user[rows]
        predicted_N = pair_dot(factors.X, factors.W, item, user).to(self._dtype)
        predicted_N += factors.b[0].index_select(0, user)
        if factors.c is not None:
            predicted_N += factors.c[0].index_select(0, item)
        predicted_N += self._mean[rows]
        return predicted_N.clamp_(*self._scale).sub_(self._value[rows])
