"""Sum over the ratings of one side's rows with the loops that numba compiles for the CPU.

Letters as in `cofi_dist.kernels.base`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.kernels.base import (
    Csr,
    RidgeTerm,
    RowSolutions,
    Side,
    WeightedCsr,
    rounding_floor,
    row_curvature,
    underflow_floor,
)
from cofi_dist.kernels.cpu import parallel_loops
from cofi_dist.kernels.cpu.cg import Ridge
from cofi_dist.kernels.cpu.gram_rows import GramRows, gram_rows
from cofi_dist.kernels.cpu.jit import match_torch_threads, require_loops
from cofi_dist.kernels.cpu.parallel_loops import ErrorSums
from cofi_dist.kernels.cpu.partial_sums import MergePlan
from cofi_dist.kernels.cpu.schedule import Segments, whole_rows
from cofi_dist.kernels.cpu.simd import Vectors, vectors_of
from cofi_dist.kernels.sum_memory import SumMemory, SumPlace

FloatArray = NDArray[np.floating]


class SumBuffers:
    """Hold the sums over rows' ratings, and the partial sums that wait to be merged.

    The same memory is used at every call: touching fresh pages would take up to a tenth of the sums' time.

    Args:
        segments: which ratings are summed for which row.
        like: features of the rows that are summed for, (V, K).
        place: where the sums go; None for memory of their own.

    Attributes:
        features, bias: the sums of each subtree, (T, V, K) and (T, V).
        half_squared_errors: of each block, (B, V) float64.
        sums: the same memory, one `Side` per subtree.
        plan: how partial sums are merged.
    """

    def __init__(self, segments: Segments, like: Tensor, place: SumPlace | None = None) -> None:
        T, L, V = len(segments.subtrees), segments.levels, len(like)
        place = place or SumMemory(T, V).place(V)
        self.features, self.bias = (sums[:, :V] for sums in place.sums(like))
        self.half_squared_errors = place.half_squared_errors(segments.num_blocks, V)
        self.sums = [Side(*pair) for pair in zip(self.features.numpy(), self.bias.numpy(), strict=True)]
        waiting = place.waiting((int(segments.slot.max(initial=-1)) + 1) * L, like)
        self.plan = MergePlan(
            is_first=segments.is_first,
            merge_mask=segments.merge_mask,
            store_level=segments.store_level,
            slot=segments.slot,
            block=segments.block,
            waiting=waiting.features.numpy(),
            waiting_bias=waiting.bias.numpy(),
            levels=L,
        )


class NumbaKernels:
    """Sum over the ratings in compiled loops on the CPU; each call reads a row's ratings once.

    Args:
        segments: which ratings are summed for which row.
        ratings: in the segments' order, whose `indptr` takes the place of theirs; of the factors' dtype.
        num_rows: V.
        dtype: of the factors.
        place: where gradients go, and products, which then overwrite them, from zeros on; None for memory of
            their own, which every row's segments overwrite.
    """

    fixes_order = True

    def __init__(
        self,
        segments: Segments,
        ratings: Csr | WeightedCsr,
        num_rows: int,
        dtype: torch.dtype,
        place: SumPlace | None = None,
    ) -> None:
        require_loops()
        self._segments, self._place = segments, place
        self._ratings = ratings._replace(indptr=segments.indptr)
        # two, because the gradients are still needed while products are formed
        self._gradient_buffers: SumBuffers | None = None
        self._product_buffers: SumBuffers | None = None
        counts = np.zeros(num_rows, np.int64)
        np.add.at(counts, segments.row, np.diff(segments.indptr))
        self.counts = torch.from_numpy(counts).to(dtype)
        self.curvature = self.counts
        if isinstance(self._ratings, WeightedCsr):
            curvature = np.zeros(num_rows)
            np.add.at(curvature, segments.row, row_curvature(self._ratings))
            self.curvature = torch.from_numpy(curvature).to(dtype)

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return sum half_n of each row, (V,) float64."""
        half = np.zeros(len(solved.features))
        operands = self._segments.schedule(), self._ratings, arrays_of(solved), arrays_of(fixed)
        parallel_loops.half_squared_errors(match_torch_threads(), vectors_of_rows(fixed), *operands, half)
        return torch.from_numpy(half)

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the errors' gradients as `RatingKernels` says, into memory that the next call overwrites."""
        if self._gradient_buffers is None:
            self._gradient_buffers = SumBuffers(self._segments, solved.features, self._place)
        buffers = self._gradient_buffers
        assert buffers.features.shape[1:] == solved.features.shape, "rows of another shape than before"
        half_BV = buffers.half_squared_errors.zero_().numpy()
        self._clear(buffers)
        sides = arrays_of(solved), arrays_of(fixed)
        for schedule, sums in zip(self._segments.schedules(), buffers.sums, strict=True):
            operands = schedule, self._ratings, *sides, ErrorSums(*sums, half_BV), buffers.plan
            parallel_loops.error_gradients(match_torch_threads(), vectors_of_rows(fixed), *operands)
        return buffers.features, buffers.bias, buffers.half_squared_errors

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Form the products as `RatingKernels` says, in memory that the next call overwrites."""
        if self._product_buffers is None:
            self._product_buffers = SumBuffers(self._segments, directions.features, self._place)
        buffers = self._product_buffers
        assert buffers.features.shape[1:] == directions.features.shape, "rows of another shape than before"
        self._clear(buffers)
        sides = arrays_of(directions), arrays_of(fixed)
        for schedule, sums in zip(self._segments.schedules(), buffers.sums, strict=True):
            operands = schedule, self._ratings, *sides, sums, buffers.plan
            parallel_loops.normal_products(match_torch_threads(), vectors_of_rows(fixed), *operands)
        return buffers.features, buffers.bias

    def _clear(self, buffers: SumBuffers) -> None:
        """Set shared memory to zeros: it has sums of other rows, and not all of these have segments."""
        if self._place is not None:
            buffers.features.zero_()
            buffers.bias.zero_()

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ratings of each row, if they are not cut into tiles."""
        assert self._segments.has_whole_rows
        indptr, indices = (torch.from_numpy(array) for array in self._ratings[:2])
        return indptr, indices, entries_of(self._ratings.values, len(indices))

    @property
    def weights(self) -> tuple[Tensor | float, float]:
        """Return the weights of the ratings, and of the unknown pairs."""
        if isinstance(self._ratings, Csr):
            return 1.0, 0.0
        weights = self._ratings.weights
        c = torch.from_numpy(weights) if isinstance(weights, np.ndarray) else float(weights)
        return c, float(self._ratings.unknown_weight)

    def solve_rows(
        self, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm, mean_square: Tensor, steps: int
    ) -> RowSolutions | None:
        """Solve each row while its ratings are in cache; return None if rows are cut into tiles."""
        if not self._segments.has_whole_rows:
            return None
        half, decrease = np.empty((2, len(solved.features)))
        operands = self._segments.schedule(), self._ratings, arrays_of(solved), arrays_of(fixed)
        problem = ridge_arrays(ridge, mean_square, steps, rounding_floor(solved.features.dtype))
        parallel_loops.solve_rows(
            match_torch_threads(), vectors_of_rows(fixed), *operands, problem, gram_of(ridge), half, decrease
        )
        return RowSolutions(torch.from_numpy(half), torch.from_numpy(decrease))


class NumbaGradients:
    """Add the gradients of some rows' ratings to sums, in compiled loops on the CPU.

    Args:
        rows: the rows that have ratings, ascending, (S,).
        ratings: those of each of these rows; of the factors' dtype.
    """

    def __init__(self, rows: NDArray[np.int32], ratings: Csr | WeightedCsr) -> None:
        require_loops()
        self._schedule, self._ratings = whole_rows(rows, np.diff(ratings.indptr)), ratings

    def add(self, solved: Side[Tensor], fixed: Side[Tensor], sums: Side[Tensor]) -> None:
        """Add err_n f_n and err_n of each row's ratings to the sums, (V, K) and (V,), in order."""
        # the last run has counted it up
        schedule = self._schedule._replace(next_chunk=np.zeros(1, np.int64))
        operands = schedule, self._ratings, arrays_of(solved), arrays_of(fixed), arrays_of(sums)
        parallel_loops.add_gradients(match_torch_threads(), vectors_of_rows(fixed), *operands)


def ridge_arrays(
    ridge: RidgeTerm, mean_square: Tensor, steps: int, rounding_floor: float | np.floating
) -> Ridge:
    """Return what the compiled loops need to know of the rows' least squares; see `Ridge`."""
    weight = ridge.weight.numpy()
    return Ridge(
        curvature=ridge.curvature.numpy(),
        weight=weight,
        weight_b=weight.dtype.type(ridge.weight_b),
        has_bias=ridge.has_bias,
        mean_square=mean_square[None].numpy(),
        steps=steps,
        rounding_floor=rounding_floor,
        underflow_floor=weight.dtype.type(underflow_floor(ridge.weight.dtype)),
    )


def gram_of(ridge: RidgeTerm) -> GramRows | None:
    """Return the Gram matrix of the rows' least squares for the loops; None if there is none."""
    return None if ridge.gram is None else gram_rows(ridge.gram.numpy())


def vectors_of_rows(side: Side[Tensor]) -> Vectors:
    """Return the vectors of a row of a side, for the loops."""
    return vectors_of(side.features.shape[1], side.features.element_size())


def entries_of(column: FloatArray | np.floating, length: int) -> Tensor:
    """Return a column of `length` entries as a tensor; a number stands for equal ones."""
    if isinstance(column, np.ndarray):
        return torch.from_numpy(column)
    return torch.from_numpy(np.array([column])).expand(length)


def arrays_of(side: Side[Tensor]) -> Side[FloatArray]:
    """Return the same memory as arrays, for the loops."""
    return Side(side.features.numpy(), side.bias.numpy())
