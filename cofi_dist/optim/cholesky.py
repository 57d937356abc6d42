"""Each row's least squares solved at once: Cholesky's method on batches of normal equations.

    (sum p p^T + weight) d = r        r = -sum err p - weight z, with 1 below p and z_r below Z_r
    (P P^T + weight) a = y - z        Z = P^T a: the smaller one, for rows of at most K ratings

In float64 whatever the factors are: a bias that is not regularised may leave little of its pivot. K features,
R rows, B rows of a batch, n ratings of the longest of them.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from cofi_dist.kernels.base import RatingKernels, RidgeTerm, accumulation_dtype
from cofi_dist.kernels.block_sums import sums_of
from cofi_dist.optim.base import PendingSum

# Numbers that a batch's gathered rows, and its normal matrices, may take.
NUMBERS = 2**23


@dataclass(frozen=True)
class Solution:
    """What solving the rows of one side did; 0-dim but for the first.

    Attributes:
        half: 1/2 sum err^2 before, over this rank's ratings, of each block, (B,) float64.
        gain: by how much J fell, float64.
        singular: rows without a unique solution, which were left alone.
    """

    half: Tensor
    gain: Tensor
    singular: Tensor


Solved = Generator[PendingSum, None, Solution]


def exact(
    rows: RatingKernels, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor, least: RidgeTerm, *, whole: bool
) -> Solved:
    """Moves Z, and z where it is solved for, to where J is lowest; yields what to sum over the ranks.

    Rows whose ratings are on several ranks are moved by the sum of their normal matrices: K / 2 times as much
    to send as a step of conjugate gradients has.
    """
    right, right_b, half_BR = rows.gradients(Z, z, P, offset)
    if not whole:
        yield PendingSum(right, right_b)
    right, right_b = right[0], right_b[0]
    right.add_(least.weight[:, None] * Z).neg_()
    right_b = right_b.add_(least.weight_b * z).neg_() if least.has_bias else torch.zeros_like(right_b)
    right = torch.cat([right, right_b[:, None]], 1)
    gain, singular = half_BR.new_zeros(()), half_BR.new_zeros(())
    for batch in batches(least.counts, P.shape[1]):
        most = int(least.counts[batch].max())
        if whole and 0 < most <= P.shape[1] and bool((least.weight[batch] > 0).all()):
            step, bad = _by_ratings(rows, batch, Z, z, P, offset, least)
        else:
            A = normal_matrices(rows, batch, P, has_bias=least.has_bias)
            if not whole:
                yield PendingSum(A[None])
            step, bad = _by_features(A, right[batch], batch, least)
        gain += (right[batch] * step).sum(dtype=gain.dtype) / 2
        singular += bad
        Z[batch] += step[:, :-1]
        if least.has_bias:
            z[batch] += step[:, -1]
    return Solution(sums_of(half_BR), gain, singular)


def batches(counts: Tensor, K: int) -> Iterator[Tensor]:
    """Rows in batches of bounded memory, long ones first; none is less than half as long as the longest.

    Args:
        counts: ratings of each row, (R,).
        K: features.

    Yields:
        Rows, (B,).
    """
    order = torch.argsort(counts, descending=True, stable=True)
    lengths = counts[order].tolist()
    at = 0
    while at < len(lengths):
        # those with no more ratings than features are by themselves: their equations are the smaller ones
        least = max(lengths[at] / 2, K + 0.5 if lengths[at] > K else 0.5 if lengths[at] else 0)
        end, full = at + 1, at + NUMBERS // (K + 1) ** 2
        while end < min(full, len(lengths)) and lengths[end] >= least:
            end += 1
        yield order[at:end]
        at = end


def normal_matrices(rows: RatingKernels, batch: Tensor, P: Tensor, *, has_bias: bool) -> Tensor:
    """Sum (p, 1) (p, 1)^T over this rank's ratings of each row, (B, K + 1, K + 1); 0 for 1 without a bias."""
    K = P.shape[1]
    A = P.new_zeros(len(batch), K + 1, K + 1, dtype=accumulation_dtype(P))
    piece = max(1, NUMBERS // (len(batch) * (K + 1)))
    for other, known, _ in _pieces(rows, batch, piece):
        ones = known if has_bias else torch.zeros_like(known)
        part = torch.cat([P[other] * known[..., None], ones[..., None]], 2)
        part = part.to(A.dtype)
        A.baddbmm_(part.mT, part)
    return A


def _by_features(A: Tensor, right: Tensor, batch: Tensor, least: RidgeTerm) -> tuple[Tensor, Tensor]:
    """The step of each row, (B, K + 1), and how many have none."""
    diagonal = least.weight[batch].to(A.dtype)[:, None].repeat(1, A.shape[-1])
    diagonal[:, -1] = least.weight_b if least.has_bias else 1
    # nothing depends on what has no ratings and no weight: it stays
    idle = (least.counts[batch] == 0)[:, None] & (diagonal == 0)
    A.diagonal(dim1=1, dim2=2).add_(torch.where(idle, 1, diagonal))
    L, good = _factorised(A)
    unknowns = A.shape[-1] - (0 if least.has_bias and not least.weight_b else 1)
    few = (least.weight[batch] == 0) & (least.counts[batch] > 0) & (least.counts[batch] < unknowns)
    good &= ~few
    L = torch.where(good[:, None, None], L, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device))
    step = torch.cholesky_solve(right[..., None].to(A.dtype), L)[..., 0]
    return (step * good[:, None]).to(right.dtype), (~good).sum()


def _by_ratings(
    rows: RatingKernels, batch: Tensor, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor, least: RidgeTerm
) -> tuple[Tensor, Tensor]:
    """The same for rows of at most K ratings and a weight above 0, from a matrix of their ratings."""
    ((other, known, value),) = _pieces(rows, batch, int(least.counts[batch].max()))
    known = known.to(accumulation_dtype(P))
    own = P[other] * known[..., None]
    weight = least.weight[batch].to(own.dtype)
    A = own @ own.mT
    A.diagonal(dim1=1, dim2=2).add_(weight[:, None])
    y = (value - offset[other]) * known
    L, good = _factorised(A)
    if least.has_bias:
        both = torch.cholesky_solve(torch.stack([y, known], 2), L)
        u, v = both[..., 0], both[..., 1]
        bias = weight * u.sum(1) / (least.weight_b + weight * v.sum(1))
        a = u - bias[:, None] * v
    else:
        bias = z[batch].to(own.dtype)
        a = torch.cholesky_solve((y - bias[:, None] * known)[..., None], L)[..., 0]
    moved = (own.mT @ a[..., None])[..., 0]
    step = torch.cat([moved - Z[batch], (bias - z[batch])[:, None]], 1)
    return (step * good[:, None]).to(Z.dtype), (~good).sum()


def _factorised(A: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky's factors, and of which matrices they are more than rounding."""
    whole = A.diagonal(dim1=1, dim2=2).clone()
    L, info = torch.linalg.cholesky_ex(A)
    lost = (L.diagonal(dim1=1, dim2=2).square() <= torch.finfo(A.dtype).eps * whole).any(1)
    return L, (info == 0) & ~lost


def _pieces(rows: RatingKernels, batch: Tensor, piece: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """So many ratings of each row at once: row of the other side, 1 for a rating, value; each (B, n)."""
    start, other, value = rows.csr
    first, last = start[batch], start[batch + 1]
    longest = int((last - first).max())
    for at in range(0, longest, piece):
        n = first[:, None] + torch.arange(at, min(at + piece, longest), device=first.device)
        known = n < last[:, None]
        n = torch.where(known, n, 0)
        yield other[n], known.to(value.dtype), value[n]
