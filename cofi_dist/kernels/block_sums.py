"""Sums over the rows of a factor, in one order: neither ranks, where blocks are set, nor threads change it.

R rows, K columns, B blocks, T branches (`cofi_dist.sharding`).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from cofi_dist.kernels.base import accumulation_dtype
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks

# Of the items' rows, which every rank has, so many runs are summed side by side.
RUNS = 16


class BlockSums:
    """In float64, where the device has it.

    Args:
        blocks: of this rank's users.
    """

    def __init__(self, blocks: ReductionBlocks) -> None:
        self.blocks = blocks

    def squares_over_users(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        return self.sum_branches(_squares(rows, weight, self.blocks.users).sum(1))

    def squares_over_items(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        return _squares(rows, weight, _runs(len(rows))).sum(0).sum()

    def column_squares_over_users(self, W: Tensor, weight: Tensor) -> Tensor:
        """sum_r weight_r W_rk^2 of each branch, (T, K), in W's dtype from a block's sum on."""
        return self.sum_branches(_squares(W, weight, self.blocks.users).to(W.dtype))

    def column_squares_over_items(self, X: Tensor, weight: Tensor) -> Tensor:
        """The same over all items, (K,)."""
        return _squares(X, weight, _runs(len(X))).sum(0).to(X.dtype)

    def sum_over_users(self, numbers: Tensor) -> Tensor:
        """Of each branch, (T,), from a number of each user, (U,) float64."""
        sums = torch.stack([ordered_sum(numbers[u.start : u.stop]) for u in self.blocks.users])
        return self.sum_branches(sums)

    def sum_branches(self, of_blocks: Tensor) -> Tensor:
        """(B, ...) -> (T, ...)."""
        return torch.from_numpy(self.blocks.subtree_sums(of_blocks.cpu().numpy())).to(of_blocks.device)


def ordered_sum(numbers: Tensor) -> Tensor:
    """0-dim; torch's own sum on a CPU depends on the number of threads."""
    if numbers.device.type != "cpu":
        return numbers.sum()
    return torch.as_tensor(numbers.numpy().sum())


def sums_of(numbers: Tensor) -> Tensor:
    """`ordered_sum` of each row: (B, R) -> (B,)."""
    return torch.stack([ordered_sum(row) for row in numbers])


def _runs(rows: int) -> list[UserRange]:
    cuts = np.linspace(0, rows, RUNS + 1).astype(int).tolist()
    return [UserRange(a, b) for a, b in pairwise(cuts)]


def _squares(Z: Tensor, weight: Tensor | None, runs: Sequence[UserRange]) -> Tensor:
    """sum_r weight_r Z_rk^2 over each run of rows, (runs, K)."""
    weight = Z.new_ones(len(Z)) if weight is None else weight
    sums = torch.zeros(len(runs), Z.shape[1], dtype=accumulation_dtype(Z), device=Z.device)
    if Z.device.type == "cpu":
        from cofi_dist.kernels.cpu import factor_loops  # here: who sums no squares needs no compiled loops
        from cofi_dist.kernels.cpu.jit import match_torch_threads

        first, last = (np.array([getattr(run, end) for run in runs]) for end in ("start", "stop"))
        match_torch_threads()
        factor_loops.weighted_squares(first, last, Z.numpy(), weight.numpy(), sums.numpy())
        return sums
    for k, run in enumerate(runs):
        rows = slice(run.start, run.stop)
        sums[k] = (weight[rows, None].to(sums.dtype) * Z[rows].to(sums.dtype).square()).sum(0)
    return sums
