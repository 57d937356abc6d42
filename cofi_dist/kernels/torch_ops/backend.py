"""Sum over the ratings of one side's rows with torch's own operations, on any device.

Letters as in `cofi_dist.kernels.base`.
"""

import numpy as np
import torch
from torch import Tensor

from cofi_dist.kernels.base import Csr, RidgeTerm, Side, WeightedCsr, accumulation_dtype, index_type
from cofi_dist.kernels.torch_ops.primitives import pair_dot, weighted_row_sum


class TorchKernels:
    """Form all sums from the two primitives of `cofi_dist.kernels.torch_ops.primitives`.

    Args:
        csr: the ratings; `values` have the dtype of the factors.
        device: where they are summed.
    """

    def __init__(self, csr: Csr | WeightedCsr, device: torch.device) -> None:
        assert isinstance(csr, Csr), "weights are not implemented here yet"
        counts, kind = np.diff(csr.indptr), index_type(len(csr.indices))
        self._values = torch.from_numpy(csr.values).to(device)
        dtype = self._values.dtype
        self.counts = torch.from_numpy(counts).to(device, dtype)
        self.curvature = self.counts
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
        return self._indptr, self._indices, self._values

    @property
    def weights(self) -> tuple[Tensor | float, float]:
        """Return the weights of the ratings, and of the unknown pairs."""
        return 1.0, 0.0

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return 1/2 sum err^2 of each row, (V,) float64, or float32 on mps."""
        return self._half(self._errors(solved, fixed))

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the errors' gradients as `RatingKernels` says."""
        err_N = self._errors(solved, fixed)
        return *self._sums(err_N, fixed.features), self._half(err_N)[None]

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        """Form the products as `RatingKernels` says."""
        d_N = pair_dot(directions.features, fixed.features, self._row, self._indices)
        return self._sums(d_N.add_(directions.bias.index_select(0, self._row)), fixed.features)

    def solve_rows(
        self, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm, mean_square: Tensor, steps: int
    ) -> None:
        """Return None: on a device, steps on whole matrices are faster."""
        return

    def _errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        """Return the error of each rating, (N,)."""
        err_N = pair_dot(solved.features, fixed.features, self._row, self._indices).sub_(self._values)
        err_N.add_(solved.bias.index_select(0, self._row))
        return err_N.add_(fixed.bias.index_select(0, self._indices))

    def _sums(self, v_N: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return sum v_n f_n, (1, V, K), and sum v_n, (1, V), of each row."""
        sums_b = weighted_row_sum(v_N, self._one.to(v_N.dtype), self._zeros, self._indptr)
        return weighted_row_sum(v_N, features, self._indices, self._indptr)[None], sums_b.T

    def _half(self, err_N: Tensor) -> Tensor:
        """Return 1/2 sum err_n^2 of each row, (V,)."""
        squares = err_N.to(accumulation_dtype(err_N)).square().div_(2)
        return weighted_row_sum(squares, self._one.to(squares.dtype), self._zeros, self._indptr)[:, 0]
