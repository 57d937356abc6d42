"""Solve each row's ridge regression exactly, by Cholesky factorisation of batches of normal equations.

The step d of a row with features z solves one of two systems. The second one is smaller for rows of at most
K ratings, and F has a row per rating in it. It needs the unknown pairs to have no weight.

    (sum d_n f f^T + gram + weight) d = -sum err f - gram z - weight z     with a 1 below f, and below z the
                                                                           row's bias and, for gram, a 1
    (F F^T + weight) a = sqrt(c) (value - offset - bias)                   z + d = F^T a; F's rows: sqrt(c) f

They are solved in float64 whatever the factors are, because a bias that is not regularised may leave little
of its pivot. If a row has noise e, it is drawn around its solution: the first system's matrix is L L^T, and
L^-T e is added. K features, V rows, G rows of a batch, n ratings of the longest row of a batch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cofi_dist.kernels.base import RatingKernels, RidgeTerm, Side, accumulation_dtype
from cofi_dist.kernels.block_sums import ordered_row_sums
from cofi_dist.kernels.gram import add_gram_product
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
    gradient = Side(sums[0], sums_b[0])
    if ridge.gram is not None:
        add_gram_product(gradient, solved, ridge.gram, constant=1)
    residual = _residual(gradient, solved, ridge)
    K = fixed.features.shape[1]
    decrease, singular = half_BV.new_zeros(()), half_BV.new_zeros(())
    for batch in batches(ridge.counts, K):
        longest = int(ridge.counts[batch].max())
        is_small = is_local and ridge.gram is None and ridge.noise is None and 0 < longest <= K
        if is_small and bool((ridge.weight[batch] > 0).all()):
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
    """Sum d_n (f, 1) (f, 1)^T over this rank's ratings of each row; without a bias, (f, 0).

    Returns:
        (G, K + 1, K + 1).
    """
    K = features.shape[1]
    A = features.new_zeros(len(batch), K + 1, K + 1, dtype=accumulation_dtype(features))
    _, unknown_weight = kernels.weights
    at_once = max(1, MAX_BATCH_NUMBERS // (len(batch) * (K + 1)))
    for piece in _pieces(kernels, batch, at_once):
        known = piece.known
        ones = known if has_bias else torch.zeros_like(known)
        F = torch.cat([features[piece.indices] * known[..., None], ones[..., None]], 2)
        F = F.to(A.dtype)
        if isinstance(piece.weights, Tensor):
            d = piece.weights.to(A.dtype) - unknown_weight
            A.baddbmm_((d[..., None] * F).mT, F)
        else:
            A.baddbmm_(F.mT, F, alpha=piece.weights - unknown_weight)
    return A


def _solve_by_features(A: Tensor, residual: Tensor, batch: Tensor, ridge: RidgeTerm) -> tuple[Tensor, Tensor]:
    """Return the step of each row, (G, K + 1), and how many rows have no unique one."""
    diagonal = ridge.weight[batch].to(A.dtype)[:, None].repeat(1, A.shape[-1])
    diagonal[:, -1] = ridge.weight_b if ridge.has_bias else 1
    counts, precision = ridge.counts[batch], torch.finfo(A.dtype).eps
    if ridge.gram is None:
        # an unknown without ratings and weight stays as it is, since nothing depends on it
        idle = (counts == 0)[:, None] & (diagonal == 0)
        diagonal = torch.where(idle, 1, diagonal)
    else:
        unknowns = A.shape[-1] if ridge.has_bias else A.shape[-1] - 1
        A[:, :unknowns, :unknowns] += ridge.gram[:unknowns, :unknowns]
        precision = torch.finfo(ridge.gram.dtype).eps
    A.diagonal(dim1=1, dim2=2).add_(diagonal)
    factor, good = _cholesky(A, precision)
    if ridge.gram is None:
        # with fewer ratings than unknowns and no weight, A is singular, even if rounding hides it
        unknowns = A.shape[-1] - (0 if ridge.has_bias and not ridge.weight_b else 1)
        good &= ~((ridge.weight[batch] == 0) & (counts > 0) & (counts < unknowns))
    factor = torch.where(good[:, None, None], factor, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device))
    step = torch.cholesky_solve(residual[..., None].to(A.dtype), factor)[..., 0]
    if ridge.noise is not None:
        noise = ridge.noise[batch][..., None].to(A.dtype)
        step += torch.linalg.solve_triangular(factor.mT, noise, upper=True)[..., 0]
    return (step * good[:, None]).to(residual.dtype), (~good).sum()


def _solve_by_ratings(
    kernels: RatingKernels, batch: Tensor, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm
) -> tuple[Tensor, Tensor]:
    """Return the same as `_solve_by_features`, for rows of at most K ratings and a weight above 0.

    The matrix has a row and a column per rating.
    """
    (piece,) = _pieces(kernels, batch, int(ridge.counts[batch].max()))
    # a rating of weight c is a rating of weight 1 whose row (f, 1) and value are sqrt(c) times as large
    scale = piece.known.to(accumulation_dtype(fixed.features))
    scale *= torch.as_tensor(piece.weights, dtype=scale.dtype, device=scale.device).sqrt()
    F = fixed.features[piece.indices] * scale[..., None]
    weight = ridge.weight[batch].to(F.dtype)
    A = F @ F.mT
    A.diagonal(dim1=1, dim2=2).add_(weight[:, None])
    y = (piece.values - fixed.bias[piece.indices]) * scale
    factor, good = _cholesky(A, torch.finfo(A.dtype).eps)
    if ridge.has_bias:
        # a = u - bias v, and the bias is where J's derivative by it is 0
        both = torch.cholesky_solve(torch.stack([y, scale], 2), factor)
        u, v = both[..., 0], both[..., 1]
        bias = weight * (scale * u).sum(1) / (ridge.weight_b + weight * (scale * v).sum(1))
        a = u - bias[:, None] * v
    else:
        bias = solved.bias[batch].to(F.dtype)
        a = torch.cholesky_solve((y - bias[:, None] * scale)[..., None], factor)[..., 0]
    features = (F.mT @ a[..., None])[..., 0]
    step = torch.cat([features - solved.features[batch], (bias - solved.bias[batch])[:, None]], 1)
    return (step * good[:, None]).to(solved.features.dtype), (~good).sum()


def _cholesky(A: Tensor, precision: float) -> tuple[Tensor, Tensor]:
    """Return the Cholesky factors, and for which matrices they are more than rounding errors, (G,).

    Args:
        A: (G, K + 1, K + 1); or with other numbers of rows.
        precision: rounding error of its numbers, relative to them.
    """
    diagonal = A.diagonal(dim1=1, dim2=2).clone()
    factor, info = torch.linalg.cholesky_ex(A)
    pivots = factor.diagonal(dim1=1, dim2=2).square()
    # a pivot that is tiny against its diagonal entry is what rounding has left of 0
    is_lost = (pivots <= precision * diagonal).any(1)
    return factor, (info == 0) & ~is_lost


class _Piece(NamedTuple):
    """Hold some ratings of each row of a batch, padded to equally many.

    Attributes:
        indices: rows of the other side, (G, n).
        known: 1 for a rating and 0 for padding, (G, n).
        values: (G, n).
        weights: (G, n), or their common value.
    """

    indices: Tensor
    known: Tensor
    values: Tensor
    weights: Tensor | float


def _pieces(kernels: RatingKernels, batch: Tensor, at_once: int) -> Iterator[_Piece]:
    """Yield up to `at_once` ratings of each row at a time, padded to the longest row."""
    indptr, indices, values = kernels.csr
    weights, _ = kernels.weights
    start, stop = indptr[batch], indptr[batch + 1]
    longest = int((stop - start).max())
    for at in range(0, longest, at_once):
        n = start[:, None] + torch.arange(at, min(at + at_once, longest), device=start.device)
        known = n < stop[:, None]
        n = torch.where(known, n, 0)
        known_weights = weights[n] if isinstance(weights, Tensor) else weights
        yield _Piece(indices[n], known.to(values.dtype), values[n], known_weights)
