"""Solve each row's ridge regression exactly, by Cholesky factorisation of batches of normal equations.

The step d of a row with features z solves one of two systems. The second one is smaller for rows of at most
K ratings, and F has a row per rating in it.

    (sum f f^T + weight) d = -sum err f - weight z      with a 1 below f, and the row's bias below z
    (F F^T + weight) a = value - offset - bias          z + d = F^T a

They are solved in float64 whatever the factors are, because a bias that is not regularised may leave little
of its pivot. K features, V rows, G rows of a batch, n ratings of the longest row of a batch.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from cofi_dist.kernels.base import RatingKernels, RidgeTerm, Side, accumulation_dtype
from cofi_dist.kernels.block_sums import ordered_row_sums
from cofi_dist.optim.base import PendingSum, Solution, Solved

# The most numbers in a batch's normal matrices, and in the features that are gathered for them.
MAX_BATCH_NUMBERS = 2**23


def solve_by_cholesky(
    kernels: RatingKernels,
    solved: Side[Tensor],
    fixed: Side[Tensor],
    ridge: RidgeTerm,
    *,
    is_local: bool,
) -> Solved:
    """Move the solved side to where J is lowest; yield what is to be summed over the ranks.

    If a row's ratings are on several ranks, its normal matrices are summed. That is K / 2 times as much to
    send as for a step of conjugate gradients.

    Args:
        kernels: this rank's ratings of the rows.
        solved: the rows to solve for; moves.
        fixed: the other side's rows.
        ridge: what is minimised beside the squared errors.
        is_local: whether all ratings of each row are on this rank, so that nothing has to be summed.
    """
    sums, sums_b, half_BV = kernels.error_gradients(solved, fixed)
    if not is_local:
        yield PendingSum(sums, sums_b)
    residual = _residual(Side(sums[0], sums_b[0]), solved, ridge)
    K = fixed.features.shape[1]
    decrease, singular = half_BV.new_zeros(()), half_BV.new_zeros(())
    for batch in batches(ridge.counts, K):
        longest = int(ridge.counts[batch].max())
        if is_local and 0 < longest <= K and bool((ridge.weight[batch] > 0).all()):
            step, num_bad = _solve_by_ratings(kernels, batch, solved, fixed, ridge)
        else:
            A = normal_matrices(kernels, batch, fixed.features, has_bias=ridge.has_bias)
            if not is_local:
                yield PendingSum(A[None])
            step, num_bad = _solve_by_features(A, residual[batch], batch, ridge)
        decrease += (residual[batch] * step).sum(dtype=decrease.dtype) / 2
        singular += num_bad
        solved.features[batch] += step[:, :-1]
        if ridge.has_bias:
            solved.bias[batch] += step[:, -1]
    return Solution(ordered_row_sums(half_BV), decrease, singular)


def _residual(sums: Side[Tensor], solved: Side[Tensor], ridge: RidgeTerm) -> Tensor:
    """Return minus the gradient of each row, (V, K + 1), its bias last; `sums` are overwritten."""
    residual = sums.features.add_(ridge.weight[:, None] * solved.features).neg_()
    if ridge.has_bias:
        residual_b = sums.bias.add_(ridge.weight_b * solved.bias).neg_()
    else:
        residual_b = torch.zeros_like(sums.bias)
    return torch.cat([residual, residual_b[:, None]], 1)


def batches(counts: Tensor, K: int) -> Iterator[Tensor]:
    """Split the rows into batches of bounded memory, long rows first.

    The longest row of a batch has at most twice as many ratings as the shortest one.

    Args:
        counts: ratings of each row, (V,).
        K: features.

    Yields:
        Rows, (G,).
    """
    order = torch.argsort(counts, descending=True, stable=True)
    lengths = counts[order].tolist()
    start = 0
    while start < len(lengths):
        # rows with no more ratings than features have batches of their own: their equations are smaller
        floor = K + 0.5 if lengths[start] > K else 0.5 if lengths[start] else 0
        shortest = max(lengths[start] / 2, floor)
        stop, limit = start + 1, start + MAX_BATCH_NUMBERS // (K + 1) ** 2
        while stop < min(limit, len(lengths)) and lengths[stop] >= shortest:
            stop += 1
        yield order[start:stop]
        start = stop


def normal_matrices(kernels: RatingKernels, batch: Tensor, features: Tensor, *, has_bias: bool) -> Tensor:
    """Sum (f, 1) (f, 1)^T over this rank's ratings of each row, (G, K + 1, K + 1); without a bias, (f, 0)."""
    K = features.shape[1]
    A = features.new_zeros(len(batch), K + 1, K + 1, dtype=accumulation_dtype(features))
    piece = max(1, MAX_BATCH_NUMBERS // (len(batch) * (K + 1)))
    for indices, known, _ in _pieces(kernels, batch, piece):
        ones = known if has_bias else torch.zeros_like(known)
        F = torch.cat([features[indices] * known[..., None], ones[..., None]], 2)
        F = F.to(A.dtype)
        A.baddbmm_(F.mT, F)
    return A


def _solve_by_features(A: Tensor, residual: Tensor, batch: Tensor, ridge: RidgeTerm) -> tuple[Tensor, Tensor]:
    """Return the step of each row, (G, K + 1), and how many rows have no unique one."""
    diagonal = ridge.weight[batch].to(A.dtype)[:, None].repeat(1, A.shape[-1])
    diagonal[:, -1] = ridge.weight_b if ridge.has_bias else 1
    # an unknown without ratings and weight stays as it is, since nothing depends on it
    idle = (ridge.counts[batch] == 0)[:, None] & (diagonal == 0)
    A.diagonal(dim1=1, dim2=2).add_(torch.where(idle, 1, diagonal))
    factor, good = _cholesky(A)
    # with fewer ratings than unknowns and no weight, A is singular, even if rounding hides it
    unknowns = A.shape[-1] - (0 if ridge.has_bias and not ridge.weight_b else 1)
    counts = ridge.counts[batch]
    good &= ~((ridge.weight[batch] == 0) & (counts > 0) & (counts < unknowns))
    factor = torch.where(good[:, None, None], factor, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device))
    step = torch.cholesky_solve(residual[..., None].to(A.dtype), factor)[..., 0]
    return (step * good[:, None]).to(residual.dtype), (~good).sum()


def _solve_by_ratings(
    kernels: RatingKernels, batch: Tensor, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm
) -> tuple[Tensor, Tensor]:
    """Return the same as `_solve_by_features`, for rows of at most K ratings and a weight above 0.

    The matrix has a row and a column per rating.
    """
    ((indices, known, value),) = _pieces(kernels, batch, int(ridge.counts[batch].max()))
    known = known.to(accumulation_dtype(fixed.features))
    F = fixed.features[indices] * known[..., None]
    weight = ridge.weight[batch].to(F.dtype)
    A = F @ F.mT
    A.diagonal(dim1=1, dim2=2).add_(weight[:, None])
    y = (value - fixed.bias[indices]) * known
    factor, good = _cholesky(A)
    if ridge.has_bias:
        # a = u - bias v, and the bias is where J's derivative by it is 0
        both = torch.cholesky_solve(torch.stack([y, known], 2), factor)
        u, v = both[..., 0], both[..., 1]
        bias = weight * u.sum(1) / (ridge.weight_b + weight * v.sum(1))
        a = u - bias[:, None] * v
    else:
        bias = solved.bias[batch].to(F.dtype)
        a = torch.cholesky_solve((y - bias[:, None] * known)[..., None], factor)[..., 0]
    features = (F.mT @ a[..., None])[..., 0]
    step = torch.cat([features - solved.features[batch], (bias - solved.bias[batch])[:, None]], 1)
    return (step * good[:, None]).to(solved.features.dtype), (~good).sum()


def _cholesky(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Cholesky factors, and for which matrices they are more than rounding errors, (G,)."""
    diagonal = A.diagonal(dim1=1, dim2=2).clone()
    factor, info = torch.linalg.cholesky_ex(A)
    pivots = factor.diagonal(dim1=1, dim2=2).square()
    # a pivot that is tiny against its diagonal entry is what rounding has left of 0
    is_lost = (pivots <= torch.finfo(A.dtype).eps * diagonal).any(1)
    return factor, (info == 0) & ~is_lost


def _pieces(kernels: RatingKernels, batch: Tensor, piece: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield up to `piece` ratings of each row at a time, padded to the longest row.

    Yields:
        Rows of the other side, 1 for a rating and 0 for padding, and the values; each (G, n).
    """
    indptr, indices, values = kernels.csr
    start, stop = indptr[batch], indptr[batch + 1]
    longest = int((stop - start).max())
    for at in range(0, longest, piece):
        n = start[:, None] + torch.arange(at, min(at + piece, longest), device=start.device)
        known = n < stop[:, None]
        n = torch.where(known, n, 0)
        yield indices[n], known.to(values.dtype), values[n]
