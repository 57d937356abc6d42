"""Ratings in the order of one side's rows, and what is summed over each row's.

R rows of this side, Q of the other, K features, N ratings; B blocks and T branches of the users
(`cofi_dist.sharding`). A row has features Z_r and a bias z_r, the
other side features P_q and an offset.

    err_n = P_q . Z_r + z_r + offset_q - value_n
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
        indptr: where each row's ratings start, and where the last row's end, (R + 1,).
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
    """The ratings of one side's rows.

    Attributes:
        counts: ratings of each row, (R,), in the factors' dtype.
        csr: the ratings, as indptr, indices and values of `Csr`.
    """

    counts: Tensor

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]: ...

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return 1/2 sum err_n^2 of each row of the solved side, (R,) float64."""
        ...

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum err_n p_n and err_n over each row's ratings, where p_n are the fixed side's features.

        Returns:
            The sums of err_n p_n, (T, R, K), and of err_n, (T, R), of each subtree of the users; and 1/2 sum
            err_n^2 of each block and row, (B, R) float64. T = B = 1 if the rows are users.
        """
        ...

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Multiply the normal matrix of each row's ratings, sum (p_n, 1) (p_n, 1)^T, by the row's direction.

        Returns:
            The products' features, (T, R, K), and biases, (T, R), of each subtree of the users. These are the
            sums of d_n p_n and of d_n, where d_n = p_n . direction + direction_b.
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
        half_squared_errors: 1/2 sum err_n^2 before, (R,) float64.
        decreases: by how much each row's part of J fell, (R,) float64.
    """

    half_squared_errors: Tensor
    decreases: Tensor


@dataclass(frozen=True)
class RidgeTerm:
    """What least squares of a row has beside its ratings: weight/2 |Z_r|^2 + weight_b/2 z_r^2.

    Attributes:
        weight: (R,).
        weight_b: of the biases.
        has_bias: whether z is solved for too.
        counts: ratings of each row over all ranks, (R,).
        ratings: of all rows.
    """

    weight: Tensor
    weight_b: float
    has_bias: bool
    counts: Tensor
    ratings: float


def index_type(num_ratings: int) -> type[np.int32 | np.int64]:
    """Of numbers up to that of the ratings."""
    return np.int32 if num_ratings < 2**31 else np.int64


def accumulation_dtype(like: Tensor) -> torch.dtype:
    """Return the dtype that sums over `like` are accumulated in: float64, except on mps, which lacks it."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def rounding_floor(dtype: torch.dtype) -> float:
    """Return the fraction of its start at which a squared residual consists of rounding errors only."""
    eps: float = torch.finfo(dtype).eps
    return eps * math.sqrt(eps)
