"""Define what every back end offers: sums over the ratings of each row of one side.

The ratings are those of one rank's users. One side, users or items, is solved for, or its gradient is asked
for; the other side is fixed. Rating n of row r has the value y_n and belongs to row q_n of the fixed side:

    s_n   = fixed.features[q_n] . solved.features[r] + solved.bias[r] + fixed.bias[q_n]
    err_n = s_n - y_n                               d_n = 1

Ratings with weights c_n, and with a weight a0 of the unknown pairs (`WeightedCsr`), have in their place

    err_n = c_n (s_n - y_n) - a0 s_n                d_n = c_n - a0
    2 half_n = c_n (s_n - y_n)^2 - a0 s_n^2         else err_n^2

so that a0/2 sum s^2 over *all* pairs, which needs no pair (`cofi_dist.cost.unknown`), completes the cost.
err_n is the derivative of half_n by s_n, and d_n the second one.

V rows of the solved side, Q of the fixed side, K features, N ratings. Sums over users are formed in B blocks
and handed out as the sums of T subtrees of blocks (`cofi_dist.sharding.reduction_tree`).
"""

import math
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Index = NDArray[np.integer]
NUMPY_TYPE: dict[torch.dtype, type[np.float32 | np.float64]] = {
    torch.float32: np.float32,
    torch.float64: np.float64,
}


class Csr(NamedTuple):
    """Hold the ratings of one side's rows as a compressed sparse row matrix.

    Attributes:
        indptr: where each row's ratings start, and where the last row's end, (V + 1,).
        indices: row of the other side of each rating, row by row, (N,).
        values: value of each rating, (N,).
    """

    indptr: Index
    indices: NDArray[np.int32]
    values: NDArray[np.floating]


class WeightedCsr(NamedTuple):
    """Hold the ratings of one side's rows with their weights; a number stands for N equal ones.

    Attributes:
        indptr, indices: as in `Csr`.
        values: y_n, (N,), or their common value.
        weights: c_n, (N,), or their common value; in the type of the factors.
        unknown_weight: a0, in the type of the factors.
    """

    indptr: Index
    indices: NDArray[np.int32]
    values: NDArray[np.floating] | np.floating
    weights: NDArray[np.floating] | np.floating
    unknown_weight: np.floating


Array = TypeVar("Array")


class Side(NamedTuple, Generic[Array]):
    """Hold the factors of one side, users or items; as tensors or, for the compiled loops, as arrays.

    Attributes:
        features: (rows, K).
        bias: (rows,).
    """

    features: Array
    bias: Array


class RatingKernels(Protocol):
    """Sum over the ratings of each row of one side; every back end has a class that does.

    Attributes:
        counts: number of ratings of each row, (V,), in the factors' dtype.
        curvature: sum d_n of each row, (V,), in the factors' dtype; equal to `counts` without weights.
        csr: the ratings as the indptr, indices and values of a `Csr`, on the device.
        weights: c_n, (N,), on the device, or their common value; and a0.
        fixes_order: whether a row's sums, and what is made of them, must not depend on which other rows there
            are.
    """

    counts: Tensor
    curvature: Tensor
    fixes_order: bool

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]: ...

    @property
    def weights(self) -> tuple[Tensor | float, float]: ...

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return sum half_n of each row of the solved side, (V,) float64."""
        ...

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum err_n f_n and err_n over each row's ratings, where f_n are the fixed side's features.

        Returns:
            The sums of err_n f_n, (T, V, K), and of err_n, (T, V), of each subtree of the users; and sum
            half_n of each block and row, (B, V) float64. T = B = 1 if the rows are users.
        """
        ...

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Multiply the normal matrix of each row's ratings, sum d_n (f_n, 1) (f_n, 1)^T, by its direction.

        Returns:
            The products' features, (T, V, K), and biases, (T, V), of each subtree of the users. These are the
            sums of p_n f_n and of p_n, where p_n = d_n (f_n . direction + direction_b).
        """
        ...

    def solve_rows(
        self, solved: Side[Tensor], fixed: Side[Tensor], ridge: "RidgeTerm", mean_square: Tensor, steps: int
    ) -> "RowSolutions | None":
        """Take some steps of conjugate gradients on each row by itself, if this back end can.

        Args:
            solved: the rows to solve for; moves, but for the biases if `ridge` has none.
            fixed: the other side's rows.
            ridge: the regulariser of each row.
            mean_square: mean squares of the fixed features' columns, (K,), for the preconditioner.
            steps: how many.

        Returns:
            None if it can't: take conjugate gradients on whole matrices then.
        """
        ...


class RowSolutions(NamedTuple):
    """Say what solving each row by itself did.

    Attributes:
        half_squared_errors: sum half_n before, (V,) float64; without the unknown pairs' share.
        decreases: by how much each row's part of J fell, (V,) float64.
    """

    half_squared_errors: Tensor
    decreases: Tensor


@dataclass(frozen=True, kw_only=True)
class RidgeTerm:
    """Hold what is added to a row's squared errors: weight_r/2 |features_r|^2 + weight_b/2 bias_r^2.

    If there is a Gram matrix, 1/2 z^T gram z is added too, where z = (features_r, bias_r, 1).

    Attributes:
        weight: weight of each row's features, (V,).
        weight_b: weight of the biases.
        has_bias: whether biases are solved for too.
        counts: number of ratings of each row over all ranks, (V,).
        curvature: sum d_n of each row over all ranks, at least 0, (V,).
        total_curvature: their sum.
        gram: a0 times the Gram matrix of the fixed side's rows (features, 1, bias), (K + 2, K + 2), in the
            type of the factors; None if a0 is 0.
        noise: a random number for each unknown of each row, (V, K + 1), by which exact solutions are drawn
            around their place; None to take them as they are.
    """

    weight: Tensor
    weight_b: float
    has_bias: bool
    counts: Tensor
    curvature: Tensor
    total_curvature: float
    gram: Tensor | None = None
    noise: Tensor | None = None

    def of_rows(self, start: int, stop: int) -> "RidgeTerm":
        """Return that of the rows start <= r < stop."""
        own = {name: getattr(self, name)[start:stop] for name in ("weight", "counts", "curvature")}
        return replace(self, **own)


def row_curvature(csr: WeightedCsr) -> NDArray[np.float64]:
    """Return sum d_n of each row, (V,)."""
    counts, unknown_weight = np.diff(csr.indptr), np.float64(csr.unknown_weight)
    if np.ndim(csr.weights) == 0:
        return counts * (np.float64(csr.weights) - unknown_weight)
    sums, known = np.zeros(len(counts)), counts > 0
    # reduceat would give a row without ratings a number of the next row
    sums[known] = np.add.reduceat(csr.weights, csr.indptr[:-1][known], dtype=np.float64)
    return sums - counts * unknown_weight


def index_type(num_ratings: int) -> type[np.int32 | np.int64]:
    """Return the integer type for numbers up to the number of ratings."""
    return np.int32 if num_ratings < 2**31 else np.int64


def accumulation_dtype(like: Tensor) -> torch.dtype:
    """Return the dtype that sums over `like` are accumulated in: float64, except on mps, which lacks it."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def rounding_floor(dtype: torch.dtype) -> float:
    """Return the fraction of its start at which a squared residual consists of rounding errors only."""
    eps: float = torch.finfo(dtype).eps
    return eps * math.sqrt(eps)


def underflow_floor(dtype: torch.dtype) -> float:
    """Return the size below which a sum of squares may have lost digits to underflow.

    It is 1 / eps times the smallest normal number: terms that underflow are each off by less than eps / 2
    times that number, and so by less than eps^2 / 2 of such a sum.
    """
    info = torch.finfo(dtype)
    return info.tiny / info.eps
