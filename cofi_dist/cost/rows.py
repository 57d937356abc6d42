"""Ratings in the order of one side's rows, and what is summed over each row's.

R rows of this side, Q of the other, K features, N ratings. A row has features Z_r and a bias z_r, the
other side features P_q and an offset.

    e_n = value_n - P_q . Z_r - z_r - offset_q
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost import rowkernels
from cofi_dist.cost.kernels import pair_dot, weighted_row_sum
from cofi_dist.cost.term import ErrorTerm, wide
from cofi_dist.data.shards import UserShard, starts
from cofi_dist.factors import Factors

Index = NDArray[np.integer]


class Rows(Protocol):
    """The ratings of one side's rows.

    Attributes:
        counts: ratings of each row, (R,), in the factors' dtype.
    """

    counts: Tensor

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        """1/2 sum e_n^2 of each row, (R,) float64."""
        ...

    def residuals(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each row, sum e_n P_q, (R, K); sum e_n, (R,); 1/2 sum e_n^2, (R,) float64."""
        ...

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        """Of each row, sum d_n P_q, (R, K), and sum d_n, (R,), where d_n = P_q . V_r + v_r."""
        ...


@dataclass(frozen=True)
class Least:
    """What least squares of a row has beside its ratings: weight/2 |Z_r|^2 + weight_b/2 z_r^2.

    Attributes:
        weight: (R,).
        weight_b: of the biases.
        has_bias: whether z is solved for too.
    """

    weight: Tensor
    weight_b: float
    has_bias: bool


class LoopRows:
    """By the compiled loops, on the CPU: a row's ratings are read once for all that is summed over them.

    Args:
        row: of each rating, ascending, (N,).
        other: row of the other side, (N,).
        value: (N,).
        num_rows: R.
        dtype: of the factors.
    """

    def __init__(
        self, row: Index, other: Index, value: NDArray[np.float64], num_rows: int, dtype: torch.dtype
    ) -> None:
        counts = np.bincount(row, minlength=num_rows)
        self.counts = torch.from_numpy(counts).to(dtype)
        turn = np.argsort(-counts, kind="stable")
        threads = _threads()
        # equal runs for the threads, each of long rows and short ones
        self._turn = np.concatenate([turn[k::threads] for k in range(threads)]).astype(np.int32)
        self._start = starts(counts).astype(np.int32 if len(row) < 2**31 else np.int64)
        self._other = other.astype(np.int32)
        self._value = torch.from_numpy(value).to(dtype).numpy()

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        half = np.empty(len(Z))
        given = self._turn, self._start, self._other, self._value, *_arrays(P, offset, Z, z), half
        _threads()
        rowkernels.halves(*given)
        return torch.from_numpy(half)

    def residuals(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        right, right_b, half = torch.empty_like(Z), torch.empty_like(z), np.empty(len(Z))
        given = self._turn, self._start, self._other, self._value, *_arrays(P, offset, Z, z)
        _threads()
        rowkernels.residuals(*given, *_arrays(right, right_b), half)
        return right, right_b, torch.from_numpy(half)

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        out, out_b = torch.empty_like(V), torch.empty_like(v)
        _threads()
        rowkernels.products(self._turn, self._start, self._other, *_arrays(P, V, v, out, out_b))
        return out, out_b

    def solve(
        self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor, least: Least, mean_square: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """So many steps of conjugate gradients on every row by itself; moves Z, and z where it has biases.

        `mean_square` is that of P's columns, (K,), for the preconditioner.

        Returns:
            1/2 sum e_n^2 before, and by how much the row's part of J fell, (R,) float64 each.
        """
        half, gain = np.empty(len(Z)), np.empty(len(Z))
        given = self._turn, self._start, self._other, self._value, *_arrays(P, offset, Z, z)
        penalty, penalty_b = least.weight.numpy(), self._value.dtype.type(least.weight_b)
        scratch = np.empty((_threads(), 4, len(mean_square)), self._value.dtype)
        settings = least.has_bias, penalty, penalty_b, mean_square.numpy(), steps, tiny_of(Z.dtype)
        rowkernels.solve(*given, *settings, scratch, half, gain)
        return torch.from_numpy(half), torch.from_numpy(gain)


class TensorRows:
    """By the two primitives, on any device. Arguments as of `LoopRows`."""

    def __init__(
        self,
        row: Index,
        other: Index,
        value: NDArray[np.float64],
        num_rows: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        counts = np.bincount(row, minlength=num_rows)
        self.counts = torch.from_numpy(counts).to(device, dtype)
        self._start = torch.from_numpy(starts(counts).astype(np.int32)).to(device)
        self._row, self._other = (torch.from_numpy(k.astype(np.int32)).to(device) for k in (row, other))
        self._value = torch.from_numpy(value).to(device, dtype)
        self._one = torch.ones(1, 1, device=device, dtype=dtype)
        self._zeros = torch.zeros_like(self._row)

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        return self._half(self._errors(Z, z, P, offset))

    def residuals(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        e_N = self._errors(Z, z, P, offset)
        return *self._sums(e_N, P), self._half(e_N)

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        d_N = pair_dot(V, P, self._row, self._other).add_(v.index_select(0, self._row))
        return self._sums(d_N, P)

    def _errors(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        e_N = self._value - pair_dot(Z, P, self._row, self._other)
        return e_N.sub_(z.index_select(0, self._row)).sub_(offset.index_select(0, self._other))

    def _sums(self, v_N: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        ones = weighted_row_sum(v_N, self._one.to(v_N.dtype), self._zeros, self._start)
        return weighted_row_sum(v_N, P, self._other, self._start), ones[:, 0]

    def _half(self, e_N: Tensor) -> Tensor:
        squares = e_N.to(wide(e_N)).square().div_(2)
        return weighted_row_sum(squares, self._one.to(squares.dtype), self._zeros, self._start)[:, 0]


class RowsCost:
    """Error term with the ratings in both orders; half of the work is done twice, and nothing kept.

    Attributes:
        of_users, of_items: the ratings, row by row of W and of X.
    """

    def __init__(self, shard: UserShard, device: torch.device, dtype: torch.dtype) -> None:
        user, item, value = shard.ratings.user, shard.ratings.item, shard.ratings.value
        order = np.argsort(item, kind="stable")
        self.of_users = rows_of(user, item, value, len(shard.users), device, dtype)
        self.of_items = rows_of(item[order], user[order], value[order], shard.num_items, device, dtype)

    def value(self, factors: Factors) -> Tensor:
        """Half the squared error over this rank's ratings, 0-dim float64."""
        return self.of_users.halves(factors.W, factors.b[0], factors.X, offsets(factors)).sum()

    def __call__(self, factors: Factors, *, with_value: bool) -> ErrorTerm:
        X, W, b, c = factors.X, factors.W, factors.b[0], offsets(factors)
        dW, db, half = self.of_users.residuals(W, b, X, c)
        dX, dc, _ = self.of_items.residuals(X, c, W, b)
        return ErrorTerm(
            half.sum() if with_value else None,
            dX.neg_(),
            dW.neg_(),
            db.neg_()[None],
            None if factors.c is None else dc.neg_()[None],
        )

    def squared_norm(self, matrix: Tensor) -> Tensor:
        return matrix.square().sum(dtype=wide(matrix))


def rows_of(
    row: Index,
    other: Index,
    value: NDArray[np.float64],
    num_rows: int,
    device: torch.device,
    dtype: torch.dtype,
) -> LoopRows | TensorRows:
    """The faster form for this device."""
    if device.type == "cpu":
        return LoopRows(row, other, value, num_rows, dtype)
    return TensorRows(row, other, value, num_rows, dtype, device)


def tiny_of(dtype: torch.dtype) -> float:
    """Where a squared residual has fallen to this of what it was, the rest of it is rounding."""
    eps: float = torch.finfo(dtype).eps
    return eps * math.sqrt(eps)


def offsets(factors: Factors) -> Tensor:
    """c, (M,); zeros where there is none."""
    return factors.X.new_zeros(len(factors.X)) if factors.c is None else factors.c[0]


def _arrays(*tensors: Tensor) -> list[NDArray[np.floating]]:
    return [tensor.numpy() for tensor in tensors]


def _threads() -> int:
    """Let the loops run on as many threads as torch, or as numba may have; how many these are.

    They share one OpenMP pool, whose size numba's first loop sets to its own number: torch gets its back.
    """
    of_torch = torch.get_num_threads()
    threads = min(of_torch, int(numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(threads)
    if torch.get_num_threads() != of_torch:
        torch.set_num_threads(of_torch)
    return threads
