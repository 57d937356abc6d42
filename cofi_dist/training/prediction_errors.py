"""Measure how well the factors predict held-out ratings, during training."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.sides import sides_of
from cofi_dist.data.ratings import Ratings
from cofi_dist.distributed.comm import Reducer
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import BlockSums, ordered_sum
from cofi_dist.kernels.torch_ops.primitives import pair_dot
from cofi_dist.optim.base import run_all
from cofi_dist.optim.item_pass import ItemPass
from cofi_dist.sharding.reduction_tree import ReductionBlocks

# Held-out ratings that are predicted at once: their float64 temporaries stay below 50 MB.
CHUNK = 2**20


class PredictionErrors:
    """Measure the errors of the factors on one rank's held-out ratings.

    Args:
        ratings: as the users gave them, in user order; `user` counts from the rank's first user.
        item_offsets: what was subtracted from each item's training ratings, (num_items,).
        scale: lowest and highest rating; predictions are clipped to it. May be infinite.
        device: the device of the factors.
        blocks: blocks of this rank's users, in which errors are summed; None for a single block.
        items: lets items go by that are not all on this rank; None if they are.
    """

    def __init__(
        self,
        ratings: Ratings,
        item_offsets: NDArray[np.float64],
        scale: tuple[float, float],
        device: torch.device,
        blocks: ReductionBlocks | None = None,
        items: ItemPass | None = None,
    ) -> None:
        self._scale, self._pass = scale, items
        self._block_sums = BlockSums(blocks or ReductionBlocks.single(int(ratings.user.max(initial=0)) + 1))
        bounds = [(users.start, users.stop) for users in self._block_sums.blocks.users]
        self._block_rows = [slice(*np.searchsorted(ratings.user, bound)) for bound in bounds]
        self._dtype = torch.float32 if device.type == "mps" else torch.float64  # mps has no float64
        self._item, self._user = (torch.from_numpy(row).to(device) for row in (ratings.item, ratings.user))
        self._offset, self._value = (
            torch.from_numpy(array).to(device, self._dtype)
            for array in (item_offsets[ratings.item], ratings.value)
        )
        # torch's dots may depend on how many ratings are predicted at once, and so on the blocks of items
        self._dots_in_order = device.type == "cuda" and self._block_sums.blocks.fixes_order
        # the ratings of each block of items
        self._of_blocks: list[Tensor] = []
        if items is not None:
            block = ratings.item // max(len(items.blocks[0]), 1)
            order = np.argsort(block, kind="stable")
            cuts = np.searchsorted(block[order], np.arange(1, len(items.blocks)))
            self._of_blocks = [torch.from_numpy(rows).to(device) for rows in np.split(order, cuts)]

    def measure(self, factors: Factors, reducer: Reducer) -> dict[str, float]:
        """Return RMSE and MAE of clip(w_j . x_i + b_j + c_i + offset_i) on all ranks' held-out ratings.

        They are made of sums over all ratings, in float64. Collective: all ranks call it, all get the same.

        Args:
            factors: X, c if there is one, and this rank's W and b.
            reducer: sums over the users of all ranks. At least one rank holds a rating.
        """
        err_N = None if self._pass is None else self._errors_by_blocks(self._pass, factors, reducer)
        sums_B3 = self._value.new_zeros(len(self._block_rows), 3)
        for sums, rows in zip(sums_B3, self._block_rows, strict=True):
            for start in range(rows.start, rows.stop, CHUNK):
                chunk = slice(start, min(start + CHUNK, rows.stop))
                errors = self._errors(factors, sides_of(factors)[1], chunk) if err_N is None else err_N[chunk]
                sums[0] += ordered_sum(errors.square())
                sums[1] += ordered_sum(errors.abs())
                sums[2] += len(errors)
        per_subtree = self._block_sums.sum_subtrees(sums_B3)
        squares, absolutes, count = reducer.all_reduce_scalars(*per_subtree.unbind(1))
        return {"rmse": (squares / count).sqrt().item(), "mae": (absolutes / count).item()}

    def _errors_by_blocks(self, items: ItemPass, factors: Factors, reducer: Reducer) -> Tensor:
        """Return prediction minus rating of all ratings, (N,), while the items go by."""
        err_N = torch.empty_like(self._value)

        def put(number: int, rows: Side[Tensor]) -> None:
            for some in torch.split(self._of_blocks[number], CHUNK):
                err_N[some] = self._errors(factors, rows, some, items.blocks[number].start)

        run_all(items.over(sides_of(factors)[1], put), reducer)
        return err_N

    def _errors(
        self, factors: Factors, items: Side[Tensor], rows: slice | Tensor, first_item: int = 0
    ) -> Tensor:
        """Return prediction minus rating of some of the ratings, whose items begin with `first_item`."""
        item, user = self._item[rows] - first_item, self._user[rows]
        predicted_N = self._dots(items.features, factors.W, item, user).to(self._dtype)
        predicted_N += factors.b[0].index_select(0, user)
        if factors.c is not None:
            predicted_N += items.bias.index_select(0, item)
        predicted_N += self._offset[rows]
        return predicted_N.clamp_(*self._scale).sub_(self._value[rows])

    def _dots(self, X: Tensor, W: Tensor, item: Tensor, user: Tensor) -> Tensor:
        """Return the product of each rating's rows, (N,)."""
        if not self._dots_in_order:
            return pair_dot(X, W, item, user)
        from cofi_dist.kernels.cuda.rows import pair_dots  # Triton is not installed everywhere

        return pair_dots(X, W, item, user)
