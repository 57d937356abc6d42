"""The ratings of one side's rows, for the compiled loops.

Letters as in `cofi_dist.kernels.base`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.kernels.base import NUMPY_TYPE, RidgeTerm, RowSolutions, tiny_of
from cofi_dist.kernels.cpu import parallel_loops
from cofi_dist.kernels.cpu.jit import match_torch_threads, require_loops
from cofi_dist.kernels.cpu.schedule import Segments
from cofi_dist.kernels.cpu.simd import Lanes, lanes_of


class Room:
    """Where sums over rows' ratings are put, and partial sums wait for the rest of their branch.

    The same memory at every call: fresh pages would cost as much as a tenth of the sums themselves.

    Args:
        segments: which ratings are whose.
        dtype: of the factors.
    """

    def __init__(self, segments: Segments, dtype: torch.dtype) -> None:
        self._segments, self._type = segments, NUMPY_TYPE[dtype]
        self._sums: tuple[Tensor, Tensor, NDArray[np.float64]] | None = None
        self.tree: tuple[NDArray[np.generic] | int, ...] = ()

    def begin(self, Z: Tensor) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
        """For the sums of each branch, (T, R, K), (T, R), and the squares of each block, (B, R), zeros."""
        (R, K), segments = Z.shape, self._segments
        if self._sums is None:
            T, L = len(segments.branches), segments.levels
            self._sums = Z.new_empty(T, R, K), Z.new_empty(T, R), np.zeros((segments.num_blocks, R))
            waiting = (int(segments.slot.max(initial=-1)) + 1) * L
            spare = np.empty((waiting, K), self._type), np.empty(waiting, self._type)
            after = segments.adds, segments.to, segments.slot
            self.tree = segments.begins, *after, segments.block, *spare, L
        out, out_b, half = self._sums
        assert out.shape[1:] == Z.shape, "rows of another shape than before"
        half.fill(0)
        return out, out_b, half


class NumbaKernels:
    """By the compiled loops, on the CPU: a row's ratings are read once for all that is summed over them.

    Args:
        segments: which ratings are whose.
        other: row of the other side of each rating, (N,) int32.
        value: (N,), of the factors' dtype.
        num_rows: R.
        dtype: of the factors.
    """

    def __init__(
        self,
        segments: Segments,
        other: NDArray[np.int32],
        value: NDArray[np.floating],
        num_rows: int,
        dtype: torch.dtype,
    ) -> None:
        require_loops()
        self._segments, self._other, self._value = segments, other, value
        # gradients are still needed while products are made
        self._of_gradients, self._of_products = Room(segments, dtype), Room(segments, dtype)
        counts = np.zeros(num_rows, np.int64)
        np.add.at(counts, segments.row, np.diff(segments.start))
        self.counts = torch.from_numpy(counts).to(dtype)

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        half = np.zeros(len(Z))
        ratings, factors = (self._other, self._value), tuple(arrays_of(P, offset, Z, z))
        parallel_loops.halves(match_torch_threads(), *self._segments.whole, _lanes(P), ratings, factors, half)
        return torch.from_numpy(half)

    def gradients(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `RatingKernels` has it; in memory that the next call takes again."""
        out, out_b, half_BR = self._of_gradients.begin(Z)
        ratings, factors = (self._other, self._value), tuple(arrays_of(P, offset, Z, z))
        for branch, tiles in enumerate(self._segments.each_branch()):
            sums = *arrays_of(out[branch], out_b[branch]), half_BR
            tree = self._of_gradients.tree
            parallel_loops.gradients(match_torch_threads(), *tiles, _lanes(P), ratings, factors, sums, tree)
        return out, out_b, torch.from_numpy(half_BR)

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        """As `RatingKernels` has it; in memory that the next call takes again."""
        out, out_b, _ = self._of_products.begin(V)
        factors, tree = tuple(arrays_of(P, V, v)), self._of_products.tree
        for branch, tiles in enumerate(self._segments.each_branch()):
            sums = tuple(arrays_of(out[branch], out_b[branch]))
            parallel_loops.products(
                match_torch_threads(), *tiles, _lanes(P), self._other, factors, sums, tree
            )
        return out, out_b

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        assert self._segments.is_whole
        arrays = self._segments.start, self._other, self._value
        start, other, value = (torch.from_numpy(array) for array in arrays)
        return start, other, value

    def solve_rows(
        self,
        Z: Tensor,
        z: Tensor,
        P: Tensor,
        offset: Tensor,
        ridge: RidgeTerm,
        mean_square: Tensor,
        steps: int,
    ) -> RowSolutions | None:
        """Take the steps as `RatingKernels` says, unless the ratings of a row lie in several tiles."""
        if not self._segments.is_whole:
            return None
        told, penalty_b = np.empty((2, len(Z))), self._value.dtype.type(ridge.weight_b)
        settings = ridge.has_bias, penalty_b, mean_square[None].numpy(), steps, tiny_of(Z.dtype)
        ratings, factors = (self._other, self._value), tuple(arrays_of(P, offset, Z, z))
        rest = ridge.weight.numpy(), settings, (told[0], told[1])
        parallel_loops.solve(match_torch_threads(), *self._segments.whole, _lanes(P), ratings, factors, rest)
        return RowSolutions(*torch.from_numpy(told))


def _lanes(P: Tensor) -> Lanes:
    return lanes_of(P.shape[1], P.element_size())


def arrays_of(*tensors: Tensor) -> list[NDArray[np.floating]]:
    """The same memory, for the loops."""
    return [tensor.numpy() for tensor in tensors]
