"""The kernels of one side's ratings in torch's own operations, for any device.

Letters as in `cofi_dist.kernels.base`.
"""

import numpy as np
import torch
from torch import Tensor

from cofi_dist.kernels.base import Csr, RidgeTerm, accumulation_dtype, index_type
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

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        return self._half(self._errors(Z, z, P, offset))

    def gradients(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        err_N = self._errors(Z, z, P, offset)
        return *self._sums(err_N, P), self._half(err_N)[None]

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        d_N = pair_dot(V, P, self._row, self._other).add_(v.index_select(0, self._row))
        return self._sums(d_N, P)

    def solve_rows(
        self,
        Z: Tensor,
        z: Tensor,
        P: Tensor,
        offset: Tensor,
        ridge: RidgeTerm,
        mean_square: Tensor,
        steps: int,
    ) -> None:
        """Return None: on a device, steps on whole matrices are faster."""
        return

    def _errors(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        err_N = pair_dot(Z, P, self._row, self._other).sub_(self._value)
        return err_N.add_(z.index_select(0, self._row)).add_(offset.index_select(0, self._other))

    def _sums(self, v_N: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        ones = weighted_row_sum(v_N, self._one.to(v_N.dtype), self._zeros, self._start)
        return weighted_row_sum(v_N, P, self._other, self._start)[None], ones.T

    def _half(self, err_N: Tensor) -> Tensor:
        squares = err_N.to(accumulation_dtype(err_N)).square().div_(2)
        return weighted_row_sum(squares, self._one.to(squares.dtype), self._zeros, self._start)[:, 0]
