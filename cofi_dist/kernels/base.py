"""Ratings in the order of one side's rows, and what is summed over each row's.

R rows of this side, Q of the other, K features, N ratings; B blocks and T branches of the users
(`cofi_dist.data.shard`). A row has features Z_r and a bias z_r, the
other side features P_q and an offset.

    err_n = P_q . Z_r + z_r + offset_q - value_n
"""

import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.term import wide
from cofi_dist.factors import Factors
from cofi_dist.kernels.torch_ops.primitives import pair_dot, weighted_row_sum

Index = NDArray[np.integer]
NUMPY_TYPE: dict[torch.dtype, type[np.float32 | np.float64]] = {
    torch.float32: np.float32,
    torch.float64: np.float64,
}


class RatingKernels(Protocol):
    """The ratings of one side's rows.

    Attributes:
        counts: ratings of each row, (R,), in the factors' dtype.
        lists: of the ratings row by row: where each row's begin and the last one's end, (R + 1,); their rows
            of the other side, (N,); their values, (N,).
    """

    counts: Tensor

    @property
    def lists(self) -> tuple[Tensor, Tensor, Tensor]: ...

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        """1/2 sum err_n^2 of each row, (R,) float64."""
        ...

    def gradients(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row, sum err_n P_q, (T, R, K), and sum err_n, (T, R), of each branch of the users.

        And 1/2 sum err_n^2 of each block, (B, R) float64; T = B = 1 for users' rows, which are whole.
        """
        ...

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        """Of each row, sum d_n P_q, (T, R, K), and sum d_n, (T, R), where d_n = P_q . V_r + v_r."""
        ...


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


class TorchKernels:
    """By the two primitives of `cofi_dist.kernels.torch_ops.primitives`, on any device.

    Args:
        start: where each row's ratings begin, and where the last one's end, (R + 1,).
        other: row of the other side, (N,), row by row.
        value: (N,).
        dtype: of the factors.
        device: of everything.
    """

    def __init__(
        self,
        start: Index,
        other: Index,
        value: NDArray[np.floating],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        counts, kind = np.diff(start), index_type(len(other))
        self.counts = torch.from_numpy(counts).to(device, dtype)
        row = np.repeat(np.arange(len(counts), dtype=kind), counts)
        self._start, self._row, self._other = (
            torch.from_numpy(k.astype(kind)).to(device) for k in (start, row, other)
        )
        self._value = torch.from_numpy(value).to(device, dtype)
        self._one = torch.ones(1, 1, device=device, dtype=dtype)
        self._zeros = torch.zeros_like(self._row)

    @property
    def lists(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._start, self._other, self._value

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        return self._half(self._errors(Z, z, P, offset))

    def gradients(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        err_N = self._errors(Z, z, P, offset)
        return *self._sums(err_N, P), self._half(err_N)[None]

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        d_N = pair_dot(V, P, self._row, self._other).add_(v.index_select(0, self._row))
        return self._sums(d_N, P)

    def _errors(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        err_N = pair_dot(Z, P, self._row, self._other).sub_(self._value)
        return err_N.add_(z.index_select(0, self._row)).add_(offset.index_select(0, self._other))

    def _sums(self, v_N: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        ones = weighted_row_sum(v_N, self._one.to(v_N.dtype), self._zeros, self._start)
        return weighted_row_sum(v_N, P, self._other, self._start)[None], ones.T

    def _half(self, err_N: Tensor) -> Tensor:
        squares = err_N.to(wide(err_N)).square().div_(2)
        return weighted_row_sum(squares, self._one.to(squares.dtype), self._zeros, self._start)[:, 0]


def index_type(num_ratings: int) -> type[np.int32 | np.int64]:
    """Of numbers up to that of the ratings."""
    return np.int32 if num_ratings < 2**31 else np.int64


@cache
def triton_fault() -> str:
    """Why Triton, which comes with torch for CUDA on Linux, can't be used here; empty if it can."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    try:
        from triton.runtime import driver  # it is built when it is first asked, by a C compiler

        driver.active.get_current_target()
    except Exception as error:  # of no common base
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ""


def tiny_of(dtype: torch.dtype) -> float:
    """Where a squared residual has fallen to this of what it was, the rest of it is rounding."""
    eps: float = torch.finfo(dtype).eps
    return eps * math.sqrt(eps)


def offsets(factors: Factors) -> Tensor:
    """c, (M,); zeros where there is none."""
    return factors.X.new_zeros(len(factors.X)) if factors.c is None else factors.c[0]
