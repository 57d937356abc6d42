"""Define what every back end offers: sums over the ratings of each row of one side.

The ratings are those of one rank's users. One side, users or items, is solved for, or its gradient is asked
for; the other side is fixed. Rating n of row r has the value y_n and belongs to row q_n of the fixed side:

    err_n = fixed.features[q_n] . solved.features[r] + solved.bias[r] + fixed.bias[q_n] - y_n

V rows of the solved side, Q of the fixed side, K features, N ratings. Sums over users are formed in B blocks
and handed out as the sums of T subtrees of blocks (`cofi_dist.sharding.reduction_tree`).
"""

import math
from dataclasses import dataclass
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
        csr: the ratings as the indptr, indices and values of a `Csr`, on the device.
    """

    counts: Tensor

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]: ...

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return 1/2 sum err_n^2 of each row of the solved side, (V,) float64."""
        ...

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum err_n f_n and err_n over each row's ratings, where f_n are the fixed side's features.

        Returns:
            The sums of err_n f_n, (T, V, K), and of err_n, (T, V), of each subtree of the users; and 1/2 sum
            err_n^2 of each block and row, (B, V) float64. T = B = 1 if the rows are users.
        """
        ...

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Multiply the normal matrix of each row's ratings, sum (f_n, 1) (f_n, 1)^T, by the row's direction.

        Returns:
            The products' features, (T, V, K), and biases, (T, V), of each subtree of the users. These are the
            sums of d_n f_n and of d_n, where d_n = f_n . direction + direction_b.
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
        half_squared_errors: 1/2 sum err_n^2 before, (V,) float64.
        decreases: by how much each row's part of J fell, (V,) float64.
    """

    half_squared_errors: Tensor
    decreases: Tensor


@dataclass(frozen=True, kw_only=True)
class RidgeTerm:
    """Hold what is added to a row's squared errors: weight_r/2 |features_r|^2 + weight_b/2 bias_r^2.

    Attributes:
        weight: weight of each row's features, (V,).
        weight_b: weight of the biases.
        has_bias: whether biases are solved for too.
        counts: number of ratings of each row over all ranks, (V,).
        num_ratings: number of ratings of all rows over all ranks.
    """

    weight: Tensor
    weight_b: float
    has_bias: bool
    counts: Tensor
    num_ratings: float


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
