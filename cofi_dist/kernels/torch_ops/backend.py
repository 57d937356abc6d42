"""Sum over the ratings of one side's rows with torch's own operations, on any device.

Letters as in `cofi_dist.kernels.base`.
"""

import numpy as np
import torch
from torch import Tensor

from cofi_dist.kernels.base import (
    Csr,
    RidgeTerm,
    Side,
    WeightedCsr,
    accumulation_dtype,
    index_type,
    row_curvature,
)
from cofi_dist.kernels.torch_ops.primitives import pair_dot, weighted_row_sum


class TorchKernels:
    """Form all sums from the two primitives of `cofi_dist.kernels.torch_ops.primitives`.

    Args:
        csr: the ratings; `values` and weights have the dtype of the factors.
        device: where they are summed.
    """

    weights: tuple[Tensor | float, float]
    fixes_order = False

    def __init__(self, csr: Csr | WeightedCsr, device: torch.device) -> None:
        counts, kind = np.diff(csr.indptr), index_type(len(csr.indices))
        # (N,), or 0-dim if one number stands for all
        self._values = torch.from_numpy(np.asarray(csr.values)).to(device)
        dtype = self._values.dtype
        self.counts = torch.from_numpy(counts).to(device, dtype)
        self.curvature, self.weights = self.counts, (1.0, 0.0)
        self._has_weights = isinstance(csr, WeightedCsr)
        if isinstance(csr, WeightedCsr):
            weights = torch.from_numpy(csr.weights).to(device) if np.ndim(csr.weights) else float(csr.weights)
            self.weights = weights, float(csr.unknown_weight)
            self.curvature = torch.from_numpy(row_curvature(csr)).to(dtype).to(device)
        row = np.repeat(np.arange(len(counts), dtype=kind), counts)
        self._indptr, self._row, self._indices = (
            torch.from_numpy(index.astype(kind)).to(device) for index in (csr.indptr, row, csr.indices)
        )
        # sums over numbers are sums over rows of a matrix of one 1
        self._one = torch.ones(1, 1, device=device, dtype=dtype)
        self._zeros = torch.zeros_like(self._row)

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the ratings as indptr, indices and values."""
        return self._indptr, self._indices, self._values.expand(len(self._indices))

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return sum half_n of each row, (V,) float64, or float32 on mps."""
        _, half = self._errors(solved, fixed)
        return half

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the errors' gradients as `RatingKernels` says."""
        err_N, half = self._errors(solved, fixed)
        return *self._sums(err_N, fixed.features), half[None]

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Form the products as `RatingKernels` says."""
        p_N = pair_dot(directions.features, fixed.features, self._row, self._indices)
        p_N.add_(directions.bias.index_select(0, self._row))
        if self._has_weights:
            weights, unknown_weight = self.weights
            p_N.mul_(weights - unknown_weight)
        return self._sums(p_N, fixed.features)

    def solve_rows(
        self, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm, mean_square: Tensor, steps: int
    ) -> None:
        """Return None: on a device, steps on whole matrices are faster."""
        return

    def _errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Return err_n of each rating, (N,), and sum half_n of each row, (V,)."""
        dots_N = pair_dot(solved.features, fixed.features, self._row, self._indices)
        if not self._has_weights:
            err_N = self._add_biases(dots_N.sub_(self._values), solved, fixed)
            return err_N, self._half_sums(_square(err_N))
        s_N = self._add_biases(dots_N, solved, fixed)
        err_N = s_N - self._values
        weights, unknown_weight = self.weights
        squares = _square(err_N).mul_(weights)
        err_N.mul_(weights)
        if unknown_weight:
            squares.sub_(_square(s_N), alpha=unknown_weight)
            err_N.sub_(s_N, alpha=unknown_weight)
        return err_N, self._half_sums(squares)

    def _add_biases(self, v_N: Tensor, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Add each rating's two biases, in place."""
        v_N.add_(solved.bias.index_select(0, self._row))
        return v_N.add_(fixed.bias.index_select(0, self._indices))

    def _sums(self, v_N: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return sum v_n f_n, (1, V, K), and sum v_n, (1, V), of each row."""
        sums_b = weighted_row_sum(v_N, self._one.to(v_N.dtype), self._zeros, self._indptr)
        return weighted_row_sum(v_N, features, self._indices, self._indptr)[None], sums_b.T

    def _half_sums(self, squares: Tensor) -> Tensor:
        """Return half the sum of each row's squares, (V,)."""
        return weighted_row_sum(squares.div_(2), self._one.to(squares.dtype), self._zeros, self._indptr)[:, 0]


def _square(v_N: Tensor) -> Tensor:
    """Return v_n^2 of each rating, (N,), in the dtype of sums."""
    return v_N.to(accumulation_dtype(v_N)).square()
