"""Solve the rows of one side exactly, from all their ratings and the fixed rows of the other side.

With rows z = (features, bias) of the solved side and f = (features, 1) of the other, whose bias is o, a row
is where J is lowest:

    (sum (c - a0) f f^T + a0 G_ff + penalty) z = sum f (c (y - o) + a0 o) - a0 G_fo

The sums are over the row's ratings y of weight c. G is the sum of (f, o) (f, o)^T over all rows of the other
side, and a0 the weight of the unknown pairs. Everything is computed in float64; nothing depends on where the
row was before. K features, G rows of a batch, n ratings of the longest row of a batch, Z entries of z.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# The most numbers in what is gathered for a batch of rows: few enough to stay in a core's own cache.
BATCH_NUMBERS = 2**17


@dataclass(frozen=True, kw_only=True)
class RowRatings:
    """Hold the ratings of some rows, row by row.

    Attributes:
        starts: where each row's ratings start, and where the last row's end, (V + 1,).
        other: row of the other side of each rating, (N,).
        targets: y of each rating, (N,), float64.
        weights: c of each rating, (N,), float64; None if all are 1.
    """

    starts: NDArray[np.int64]
    other: NDArray[np.int32]
    targets: NDArray[np.float64]
    weights: NDArray[np.float64] | None

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return the number of ratings of each row, (V,)."""
        return np.diff(self.starts)

    def of_rows(self, rows: NDArray[np.int64]) -> "RowRatings":
        """Return the ratings of some of the rows, ascending."""
        if len(rows) == len(self.starts) - 1:
            return self
        is_taken = np.zeros(len(self.starts) - 1, np.bool_)
        is_taken[rows] = True
        kept = np.repeat(is_taken, self.counts)
        return RowRatings(
            starts=np.append(0, np.cumsum(self.counts[rows])),
            other=self.other[kept],
            targets=self.targets[kept],
            weights=None if self.weights is None else self.weights[kept],
        )


@dataclass(frozen=True, kw_only=True)
class FixedSide:
    """Hold the rows of the other side.

    Attributes:
        features: (rows, K).
        bias: (rows,).
        unknown_weight: a0.
        gram: G, the sum of (features, 1, bias) (features, 1, bias)^T over all rows, (K + 2, K + 2) float64;
            None if a0 is 0.
    """

    features: Tensor
    bias: Tensor
    unknown_weight: float = 0.0
    gram: Tensor | None = None

    @cached_property
    def table(self) -> Tensor:
        """Return (features, 1) of each row, and last a row of zeros, (rows + 1, K + 1)."""
        table = self.features.new_zeros(len(self.bias) + 1, self.features.shape[1] + 1)
        table[:-1, :-1] = self.features
        table[:-1, -1] = 1
        return table

    @cached_property
    def offsets(self) -> Tensor:
        """Return the bias of each row, and last a 0, (rows + 1,) float64."""
        return torch.cat([self.bias.double(), self.bias.new_zeros(1).double()])

    @classmethod
    def of(cls, features: Tensor, bias: Tensor, unknown_weight: float) -> "FixedSide":
        """Compute the Gram matrix, if it is needed."""
        if not unknown_weight:
            return cls(features=features, bias=bias)
        num_rows, K = features.shape
        gram = torch.zeros(K + 2, K + 2, dtype=torch.float64)
        step = max(1, BATCH_NUMBERS // (K + 2))
        for start in range(0, num_rows, step):
            rows = slice(start, min(start + step, num_rows))
            of_rows = bias[rows, None]
            extended = torch.cat([features[rows], torch.ones_like(of_rows), of_rows], 1).double()
            gram += extended.T @ extended
        return cls(features=features, bias=bias, unknown_weight=unknown_weight, gram=gram)


def solve_rows(
    ratings: RowRatings, fixed: FixedSide, penalty: Tensor, *, has_bias: bool
) -> tuple[Tensor, Tensor]:
    """Return the rows that minimise J with the other side fixed.

    Args:
        ratings: of the V rows, all of them.
        fixed: the other side.
        penalty: weight of each entry of z in the regulariser, (V, K + 1); the last is that of the bias.
        has_bias: whether the rows have a bias; else it is 0, and its penalty is not read.

    Returns:
        z of each row, (V, K + 1) float64; and whether each is the only minimum, (V,). If it is not, z is 0.
    """
    K = fixed.features.shape[1]
    size = K + 1 if has_bias else K
    z = torch.zeros(len(ratings.counts), K + 1, dtype=torch.float64)
    is_unique = torch.ones(len(z), dtype=torch.bool)

    def solve(rows: NDArray[np.int64]) -> None:
        at = torch.from_numpy(rows)
        z[at, :size], is_unique[at] = _solve_batch(ratings, rows, fixed, penalty[at, :size])

    num_threads = torch.get_num_threads()
    try:
        # each thread solves batches of its own: torch's threads would wait for each other at every operation
        with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            for _ in threads.map(solve, _batches(ratings.counts, K)):
                pass
    finally:
        torch.set_num_threads(num_threads)
    return torch.where(is_unique[:, None], z, 0), is_unique


def _solve_batch(
    ratings: RowRatings, rows: NDArray[np.int64], fixed: FixedSide, penalty: Tensor
) -> tuple[Tensor, Tensor]:
    """Return z of a batch of rows, (G, Z), and whether each is the only minimum, (G,)."""
    A, target = _normal_equations(ratings, rows, fixed, penalty.shape[1])
    A.diagonal(dim1=1, dim2=2).add_(penalty)
    factor, info = torch.linalg.cholesky_ex(A)
    # a pivot that is tiny against its diagonal entry is what rounding has left of 0
    pivots = factor.diagonal(dim1=1, dim2=2).square()
    is_lost = (pivots <= torch.finfo(A.dtype).eps * A.diagonal(dim1=1, dim2=2)).any(1)
    is_unique = (info == 0) & ~is_lost
    if fixed.gram is None:
        # with fewer ratings than unpenalised entries there are many minima, even if rounding hides it
        is_unique &= torch.from_numpy(ratings.counts[rows]) >= (penalty == 0).sum(1)
    return torch.cholesky_solve(target[..., None], factor)[..., 0], is_unique


def _batches(counts: NDArray[np.int64], K: int) -> Iterator[NDArray[np.int64]]:
    """Cut the rows into batches of bounded memory; the longest of a batch is at most twice the shortest."""
    order = np.argsort(-counts, kind="stable")
    lengths = counts[order]
    start = 0
    while start < len(order):
        longest = int(lengths[start])
        limit = max(1, BATCH_NUMBERS // ((K + 1) * max(longest, K + 1)))
        long_enough = int(np.searchsorted(-lengths, -(longest / 2), side="right"))
        stop = min(start + limit, max(start + 1, long_enough))
        yield order[start:stop]
        start = stop


def _normal_equations(
    ratings: RowRatings, rows: NDArray[np.int64], fixed: FixedSide, size: int
) -> tuple[Tensor, Tensor]:
    """Return the matrix, (G, Z, Z), and the right side, (G, Z), of a batch of rows, without the penalty."""
    K, a0 = fixed.features.shape[1], fixed.unknown_weight
    A = torch.zeros(len(rows), size, size, dtype=torch.float64)
    target = torch.zeros(len(rows), 1, size, dtype=torch.float64)
    starts, stops = ratings.starts[rows], ratings.starts[rows + 1]
    longest = int((stops - starts).max(initial=0))
    at_once = max(1, BATCH_NUMBERS // (len(rows) * (K + 1)))
    nothing = len(fixed.bias)  # the row of zeros after the last one, for rows with fewer ratings
    for first in range(0, longest, at_once):
        at = starts[:, None] + np.arange(first, min(first + at_once, longest))
        known = at < stops[:, None]
        at = np.where(known, at, 0)
        other = torch.from_numpy(np.where(known, ratings.other[at], nothing))
        # much faster than indexing
        F = fixed.table.index_select(0, other.flatten()).double().view(*at.shape, K + 1)[..., :size]
        y, o = torch.from_numpy(ratings.targets[at]), fixed.offsets[other]
        if ratings.weights is None and not a0:
            A.baddbmm_(F.mT, F)
            target += torch.bmm((y - o)[:, None], F)
            continue
        c = torch.ones_like(y) if ratings.weights is None else torch.from_numpy(ratings.weights[at])
        A.baddbmm_((F * (c - a0)[..., None]).mT, F)
        target += torch.bmm((c * (y - o) + a0 * o)[:, None], F)
    if fixed.gram is not None:
        A += a0 * fixed.gram[:size, :size]
        target -= a0 * fixed.gram[-1, :size]
    return A, target[:, 0]
