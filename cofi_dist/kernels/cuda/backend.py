"""The ratings of one side's rows, for the kernels that Triton compiles on CUDA devices.

Letters as in `cofi_dist.kernels.base`; S pieces.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cofi_dist.kernels.base import Csr, RidgeTerm, Side
from cofi_dist.kernels.cuda import triton_kernels
from cofi_dist.sharding.ranges import offsets_from_counts

# A row's ratings are cut in pieces, each one program's: one row with very many would hold up the others.
PIECE = 256

# Numbers that a program works on at once: so many ratings times K, rounded up to a power of two.
TILE = 2048
WARPS = 4


class TritonKernels:
    """By two kernels: sums over pieces of a row's ratings, in order, and over a row's pieces, in order.

    Args:
        csr: the ratings; `values` have the dtype of the factors.
        device: where they are summed.
    """

    def __init__(self, csr: Csr, device: torch.device) -> None:
        start, other, value = csr
        counts = np.diff(start)
        self._other, self._value = torch.from_numpy(other).to(device), torch.from_numpy(value).to(device)
        self.counts = torch.from_numpy(counts).to(device, self._value.dtype)
        pieces = np.maximum(1, -(-counts // PIECE))
        begin = offsets_from_counts(pieces)
        row = np.repeat(np.arange(len(counts), dtype=np.int32), pieces)
        cuts = np.append(start[row] + PIECE * (np.arange(len(row)) - begin[row]), start[-1])
        self._row, self._start, self._begin = (torch.from_numpy(a).to(device) for a in (row, cuts, begin))

    @property
    def csr(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._start[self._begin], self._other, self._value

    def half_squared_errors(self, solved: Side[Tensor], fixed: Side[Tensor]) -> Tensor:
        _, _, half = self._summed(solved, fixed, OF_ERRORS=True, ADDS=False)
        return half

    def error_gradients(self, solved: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        out, out_b, half = self._summed(solved, fixed, OF_ERRORS=True, ADDS=True)
        return out[None], out_b[None], half[None]

    def normal_products(self, directions: Side[Tensor], fixed: Side[Tensor]) -> tuple[Tensor, Tensor]:
        out, out_b, _ = self._summed(directions, fixed, OF_ERRORS=False, ADDS=True)
        return out[None], out_b[None]

    def solve_rows(
        self, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm, mean_square: Tensor, steps: int
    ) -> None:
        """Return None: on a device, steps on whole matrices are faster."""
        return

    def _summed(
        self, solved: Side[Tensor], fixed: Side[Tensor], **what: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each row's sums, and 1/2 sum err^2 in float64; what is not asked for is empty."""
        (Z, z), (P, offset) = solved, fixed
        rows, pieces, K = len(self.counts), len(self._row), P.shape[1]
        block_k = max(16, 1 << (K - 1).bit_length())
        shape: dict[str, Any] = {"K": K, "BLOCK_K": block_k, "num_warps": WARPS, **what}

        def room(of: int) -> tuple[Tensor, Tensor, Tensor]:
            sums, halves = of if what["ADDS"] else 0, of if what["OF_ERRORS"] else 0
            return P.new_empty(sums, K), P.new_empty(sums), P.new_empty(halves, dtype=torch.float64)

        of_pieces = room(pieces)
        if rows:
            given = self._row, self._start, self._other, self._value, P, offset, Z, z
            triton_kernels.sum_piece[pieces,](*given, *of_pieces, BLOCK_N=max(1, TILE // block_k), **shape)
        if rows == pieces:
            return of_pieces
        of_rows = room(rows)
        triton_kernels.add_pieces[rows,](self._begin, *of_pieces, *of_rows, **shape)
        return of_rows
