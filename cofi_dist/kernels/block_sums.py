"""Sum over the rows of a factor, in a fixed order.

The result does not depend on the number of threads, nor, if `train.blocks` is set, on the number of ranks.

V rows, K columns, B blocks, T subtrees (`cofi_dist.sharding.reduction_tree`).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.kernels.base import Side, accumulation_dtype
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks, add_pairwise

# Every rank has all items. Their rows are cut into this many runs, which a CPU sums side by side.
RUNS = 16

# Rows that a device other than a CPU works on at once: 268 MB of 128 features in float64.
PIECE_ROWS = 2**18


class BlockSums:
    """Sum over this rank's users block by block, and over the items in runs; in float64, except on mps.

    Args:
        blocks: blocks of this rank's users.
    """

    def __init__(self, blocks: ReductionBlocks) -> None:
        self.blocks = blocks

    def squares_over_users(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return sum_r weight_r |rows_r|^2 over this rank's users, per subtree, (T,)."""
        squares = squares_of_runs(rows, weight, self.blocks.users)
        # on a device, the order of torch's sums of rows depends on the number of rows
        of_blocks = squares.sum(1) if squares.device.type == "cpu" else ordered_row_sums(squares)
        return self.sum_subtrees(of_blocks)

    def squares_over_items(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return sum_r weight_r |rows_r|^2 over all items, 0-dim."""
        return self._item_squares(rows, weight).sum(0).sum()

    def column_squares_over_users(self, W: Tensor, weight: Tensor) -> Tensor:
        """Return sum_r weight_r W_rk^2 over this rank's users, per subtree, (T, K).

        Block sums are rounded to W's dtype and added in it.
        """
        return self.sum_subtrees(squares_of_runs(W, weight, self.blocks.users).to(W.dtype))

    def column_squares_over_items(self, X: Tensor, weight: Tensor) -> Tensor:
        """Return sum_r weight_r X_rk^2 over all items, (K,), rounded to X's dtype."""
        return self._item_squares(X, weight).sum(0).to(X.dtype)

    def _item_squares(self, rows: Tensor, weight: Tensor | None) -> Tensor:
        """Return sum_r weight_r rows_rk^2 over each run of items, (runs, K)."""
        if not sums_in_triton(rows, fixes_order=self.blocks.fixes_order):
            return squares_of_runs(rows, weight, runs_of(len(rows)))
        from cofi_dist.kernels.cuda.rows import add_squares, zero_squares  # Triton is optional

        sums = zero_squares(rows.shape[1], rows)
        add_squares(sums, rows, weight)
        return sums

    def gram_over_users(self, users: Side[Tensor]) -> Tensor:
        """Return sum (w, 1, b) (w, 1, b)^T over each block of this rank's users, (B, K + 2, K + 2)."""
        # block after block, because each is summed in runs of its own
        runs = [runs_of(len(block), start=block.start) for block in self.blocks.users]
        return torch.stack([gram_matrices_of_runs(users, block).sum(0) for block in runs])

    def gram_over_items(self, items: Side[Tensor]) -> Tensor:
        """Return sum (x, 1, c) (x, 1, c)^T over all items, (K + 2, K + 2)."""
        if not sums_in_triton(items.features, fixes_order=self.blocks.fixes_order):
            return gram_matrices_of_runs(items, runs_of(len(items.features))).sum(0)
        from cofi_dist.kernels.cuda.rows import add_gram_matrices, zero_grams  # Triton is optional

        sums = zero_grams(items.features.shape[1], items.features)
        add_gram_matrices(sums, items)
        return sums.sum(0)

    def sum_over_users(self, numbers: Tensor, of_blocks: Tensor | None = None) -> Tensor:
        """Add one number per user, (U,) float64, and one per block, (B,), per subtree, (T,)."""
        sums = torch.stack([ordered_sum(numbers[u.start : u.stop]) for u in self.blocks.users])
        return self.sum_subtrees(sums if of_blocks is None else sums + of_blocks)

    def sum_subtrees(self, block_sums: Tensor) -> Tensor:
        """Add the block sums of each subtree: (B, ...) -> (T, ...)."""
        return torch.cat([add_pairwise(block_sums[tree.start : tree.stop]) for tree in self.blocks.subtrees])


def sums_in_triton(rows: Tensor, *, fixes_order: bool) -> bool:
    """Tell whether rows of all items are added in Triton, because the device's own order is not fixed.

    torch's depends on the number of rows, and so on how items are cut into blocks.
    """
    return fixes_order and rows.device.type != "cpu"


def ordered_sum(numbers: Tensor) -> Tensor:
    """Return the sum, 0-dim, in an order that does not depend on the number of threads."""
    if numbers.device.type != "cpu":
        # of a copy, because the order of torch's depends on where in memory the numbers start
        return numbers.clone().sum()
    # numpy's, because on a CPU the order of torch's depends on the number of threads
    return torch.as_tensor(numbers.numpy().sum())


def ordered_row_sums(numbers: Tensor) -> Tensor:
    """Return the ordered sum of each row: (B, V) -> (B,)."""
    return torch.stack([ordered_sum(row) for row in numbers])


def runs_of(rows: int, *, start: int = 0) -> list[UserRange]:
    """Cut rows, from `start` on, into the runs that are summed side by side."""
    cuts = (start + np.linspace(0, rows, RUNS + 1).astype(int)).tolist()
    return [UserRange(a, b) for a, b in pairwise(cuts)]


def gram_matrices_of_runs(
    side: Side[Tensor], runs: Sequence[UserRange], onto: Tensor | None = None
) -> Tensor:
    """Return sum (f, 1, f_b) (f, 1, f_b)^T over each run of rows, (runs, K + 2, K + 2).

    Args:
        side: the rows.
        runs: which of them are summed.
        onto: sums that it goes on from, in place; None for zeros. On a CPU, the rows of a run are added in
            groups of four from its first one on.
    """
    features, bias = side
    size = features.shape[1] + 2
    shape = len(runs), size, size
    sums = _zeros_in_float64(features, *shape) if onto is None else onto
    if features.device.type == "cpu":
        from cofi_dist.kernels.cpu import factor_loops
        from cofi_dist.kernels.cpu.jit import match_torch_threads

        start, stop = _ends(runs)
        match_torch_threads()
        factor_loops.gram_matrices(start, stop, features.numpy(), bias.numpy(), sums.numpy())
        return sums
    for k, run in enumerate(runs):
        for rows in _pieces(run):
            extended = torch.cat([features[rows], torch.ones_like(bias[rows, None]), bias[rows, None]], 1)
            extended = extended.to(sums.dtype)
            sums[k] += extended.T @ extended
    return sums


def _pieces(run: UserRange) -> list[slice]:
    """Cut a run on a device other than a CPU into pieces of bounded memory, which depend on the run alone.

    What torch and cuBLAS sum of a piece is always the same: they choose an order by its shape, and by where
    it begins in memory, which for a copy is where an allocation begins.
    """
    starts = range(run.start, run.stop, PIECE_ROWS)
    return [slice(start, min(start + PIECE_ROWS, run.stop)) for start in starts]


def _zeros_in_float64(like: Tensor, *shape: int) -> Tensor:
    """Return zeros to sum numbers of the given tensor's device; on mps, which lacks float64, in float32."""
    return torch.zeros(shape, dtype=accumulation_dtype(like), device=like.device)


def _ends(runs: Sequence[UserRange]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.array([run.start for run in runs]), np.array([run.stop for run in runs])


def squares_of_runs(
    Z: Tensor, weight: Tensor | None, runs: Sequence[UserRange], onto: Tensor | None = None
) -> Tensor:
    """Return sum_r weight_r Z_rk^2 over each run of rows, (runs, K); `onto` as for Gram matrices."""
    weight = Z.new_ones(len(Z)) if weight is None else weight
    sums = _zeros_in_float64(Z, len(runs), Z.shape[1]) if onto is None else onto
    if Z.device.type == "cpu":
        # imported here, because the compiled loops are slow to load and not every command sums squares
        from cofi_dist.kernels.cpu import factor_loops
        from cofi_dist.kernels.cpu.jit import match_torch_threads

        start, stop = _ends(runs)
        match_torch_threads()
        factor_loops.weighted_squares(start, stop, Z.numpy(), weight.numpy(), sums.numpy())
        return sums
    for k, run in enumerate(runs):
        for rows in _pieces(run):
            sums[k] += (weight[rows, None].to(sums.dtype) * Z[rows].to(sums.dtype).square()).sum(0)
    return sums
