"""The kernels of one side's ratings in torch's own operations, for any device.

Letters as in `cofi_dist.kernels.base`.
"""

import numpy as np
import torch
from torch import Tensor

from cofi_dist.kernels.base import Csr, RidgeTerm, Side, accumulation_dtype, index_type
from cofi_dist.kernels.torch_ops.primitives import pair_dot, weighted_row_sum


class TorchKernels:
    """By the two primitives of `cofi_dist.kernels.torch_ops.primitives`, on any device.

    Args:
        csr: the ratings; `values` have the dtype of the factors.
        device: where they are summed.
    """

    def __init__(self, csr: Csr, device: torch.device) -> None:
        start, other, value = csr
        counts, kind = np.diff(start), index_type(len(other))
        self._value = torch.from_numpy(value).to(device)
        dtype = self._value.dtype
        self.counts = torch.from_numpy(counts).to(device, dtype)
        row = np.repeat(np.arange(len(counts), dtype=kind), counts)
        self._start, self._row, self._other = (
            torch.from_numpy(k.astype(kind)).to(device) for k in (start, row, other)
        )
        self._one = torch.ones(1, 1, device=device, dtype=dtype)
        self._zeros = torch.zeros_like(self._row)

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._start, self._other, self._value

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        return self._half(self._errors(solved, fixed))

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        err_N = self._errors(solved, fixed)
        return *self._sums(err_N, fixed.features), self._half(err_N)[None]

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        d_N = pair_dot(directions.features, fixed.features, self._row, self._other)
        return self._sums(d_N.add_(directions.bias.index_select(0, self._row)), fixed.features)

    def solve_rows(
        self, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm, mean_square: Tensor, steps: int
    ) -> None:
        """Return None: on a device, steps on whole matrices are faster."""
        return

    def _errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        err_N = pair_dot(solved.features, fixed.features, self._row, self._other).sub_(self._value)
        err_N.add_(solved.bias.index_select(0, self._row))
        return err_N.add_(fixed.bias.index_select(0, self._other))

    def _sums(self, v_N: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        ones = weighted_row_sum(v_N, self._one.to(v_N.dtype), self._zeros, self._start)
        return weighted_row_sum(v_N, P, self._other, self._start)[None], ones.T

    def _half(self, err_N: Tensor) -> Tensor:
        squares = err_N.to(accumulation_dtype(err_N)).square().div_(2)
        return weighted_row_sum(squares, self._one.to(squares.dtype), self._zeros, self._start)[:, 0]
