"""Sum over the ratings of one side's rows with the kernels that Triton compiles for CUDA devices.

Letters as in `cofi_dist.kernels.base`; H pieces.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.kernels.base import Csr, RidgeTerm, Side, WeightedCsr, row_curvature
from cofi_dist.kernels.cuda import triton_kernels
from cofi_dist.kernels.cuda.rows import aligned
from cofi_dist.sharding.ranges import offsets_from_counts

# Ratings of a piece. One program sums one piece: a row with very many ratings would hold up all others.
PIECE = 256

# Numbers that a program works on at once: ratings times K, where K is rounded up to a power of two.
TILE = 2048
WARPS = 4

# Numbers of one row's ratings that a program which adds one after the other reads at once, and at most so
# many ratings. It keeps multiplication and addition apart: it must round alike wherever a rating comes.
ROW_TILE, MOST_AT_ONCE = 1024, 8


class TritonKernels:
    """Sum over the pieces of each row's ratings, in order, and then over each row's pieces, in order.

    Args:
        csr: the ratings; `values` and weights have the dtype of the factors.
        device: where they are summed.
    """

    weights: tuple[Tensor | float, float]
    fixes_order = False

    def __init__(self, csr: Csr | WeightedCsr, device: torch.device) -> None:
        counts = np.diff(csr.indptr)
        self._indices = torch.from_numpy(csr.indices).to(device)
        self._values = _as_vector(csr.values, device)
        dtype = self._values.dtype
        self.counts = torch.from_numpy(counts).to(device, dtype)
        self.curvature, self.weights = self.counts, (1.0, 0.0)
        # without weights, the kernels read neither of these
        self._weights = self._unknown_weight = self._values
        self._weighting = {"VALUE_STRIDE": np.ndim(csr.values), "HAS_WEIGHTS": False, "WEIGHT_STRIDE": 0}
        if isinstance(csr, WeightedCsr):
            stride = np.ndim(csr.weights)
            self._weights, self._unknown_weight = (
                _as_vector(numbers, device) for numbers in (csr.weights, csr.unknown_weight)
            )
            self._weighting |= {"HAS_WEIGHTS": True, "WEIGHT_STRIDE": stride}
            self.weights = (self._weights if stride else float(csr.weights)), float(csr.unknown_weight)
            self.curvature = torch.from_numpy(row_curvature(csr)).to(device, dtype)
        # a row without ratings has one piece, which is empty
        pieces = np.maximum(1, -(-counts // PIECE))
        piece_start = offsets_from_counts(pieces)
        row = np.repeat(np.arange(len(counts), dtype=np.int32), pieces)
        nth_of_row = np.arange(len(row)) - piece_start[row]
        start = np.append(csr.indptr[row] + PIECE * nth_of_row, csr.indptr[-1])
        # of each piece: its row, (S,), and where its ratings start, (S + 1,)
        self._row, self._start = torch.from_numpy(row).to(device), torch.from_numpy(start).to(device)
        # of each row: where its pieces start, (V + 1,)
        self._piece_start = torch.from_numpy(piece_start).to(device)

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ratings as indptr, indices and values."""
        values = self._values.expand(len(self._indices))
        return self._start[self._piece_start], self._indices, values

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return sum half_n of each row, (V,) float64."""
        _, _, half = self._sum(solved, fixed, is_error=True, with_sums=False)
        return half

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the errors' gradients as `RatingKernels` says; if the order is fixed, as `add` does."""
        if self.fixes_order:
            sums, sums_b = torch.zeros_like(solved.features), torch.zeros_like(solved.bias)
            half = self._add(solved, fixed, Side(sums, sums_b))
            return sums[None], sums_b[None], half[None]
        out, out_b, half = self._sum(solved, fixed, is_error=True, with_sums=True)
        return out[None], out_b[None], half[None]

    def add(self, solved: Side[Tensor], fixed: Side[Tensor], sums: Side[Tensor]) -> None:
        """Add err_n f_n and err_n of each row's ratings to the sums, (V, K) and (V,), one after the other.

        If a row's ratings come in several calls, its sums therefore are those of a single call with all of
        them.
        """
        self._add(solved, fixed, sums)

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Form the products as `RatingKernels` says."""
        out, out_b, _ = self._sum(directions, fixed, is_error=False, with_sums=True)
        return out[None], out_b[None]

    def solve_rows(
        self, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm, mean_square: Tensor, steps: int
    ) -> None:
        """Return None: on a device, steps on whole matrices are faster."""
        return

    def _sum(
        self, solved: Side[Tensor], fixed: Side[Tensor], *, is_error: bool, with_sums: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return each row's sums, (V, K) and (V,), and its sum half_n, (V,); empty if not asked for."""
        rows, pieces, K = len(self.counts), len(self._row), fixed.features.shape[1]
        block_k = _block(K)
        shape: dict[str, Any] = {"K": K, "BLOCK_K": block_k, "num_warps": WARPS}
        shape |= {"IS_ERROR": is_error, "WITH_SUMS": with_sums}

        def buffers(length: int) -> tuple[Tensor, Tensor, Tensor]:
            sums, halves = length if with_sums else 0, length if is_error else 0
            new_empty = fixed.features.new_empty
            return new_empty(sums, K), new_empty(sums), new_empty(halves, dtype=torch.float64)

        of_pieces = buffers(pieces)
        if rows:
            operands = self._row, self._start, *self._operands(solved, fixed), *of_pieces
            lanes = {"BLOCK_N": max(1, TILE // block_k), "AT_ONCE": 1, "GOES_ON": False}
            triton_kernels.sum_piece[pieces,](*operands, **lanes, **shape, **self._weighting)
        if rows == pieces:
            return of_pieces
        of_rows = buffers(rows)
        triton_kernels.add_pieces[rows,](self._piece_start, *of_pieces, *of_rows, **shape)
        return of_rows

    def _add(self, solved: Side[Tensor], fixed: Side[Tensor], sums: Side[Tensor]) -> Tensor:
        """Add to the sums as `add` does, and return sum half_n of each row, (V,)."""
        half, K = solved.bias.new_zeros(len(solved.bias), dtype=torch.float64), solved.features.shape[1]
        row, start = self._rated_rows
        if len(row):
            block_k = _block(K)
            at_once = max(1, min(MOST_AT_ONCE, ROW_TILE // block_k))
            triton_kernels.sum_piece[len(row),](
                *(row, start, *self._operands(solved, fixed), *sums, half),
                **{"K": K, "BLOCK_K": block_k, "BLOCK_N": 1, "AT_ONCE": at_once, "GOES_ON": True},
                **{"IS_ERROR": True, "WITH_SUMS": True, "num_warps": 1, "enable_fp_fusion": False},
                **self._weighting,
            )
        return half

    @cached_property
    def _rated_rows(self) -> tuple[Tensor, Tensor]:
        """Return the rows that have ratings, (S,), and where these start, with the last end, (S + 1,)."""
        indptr, rows = self._start[self._piece_start], self.counts.nonzero()[:, 0]
        return rows.int(), torch.cat([indptr[rows], indptr[-1:]])

    def _operands(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, ...]:
        ratings = self._indices, self._values, self._weights, self._unknown_weight
        return *ratings, *map(aligned, fixed), *map(aligned, solved)


def _block(K: int) -> int:
    """Return the power of two that K is rounded up to."""
    return max(16, 1 << (K - 1).bit_length())


def _as_vector(numbers: NDArray[np.floating] | np.floating, device: torch.device) -> Tensor:
    """Return the numbers on the device, (N,), or a single number as (1,)."""
    return torch.from_numpy(np.atleast_1d(numbers)).to(device)
