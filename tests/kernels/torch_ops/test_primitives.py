"""The two primitives, held to a loop in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cofi_dist.kernels.torch_ops import primitives
from cofi_dist.kernels.torch_ops.primitives import pair_dot, weighted_row_sum


def draw_cells(data: st.DataObject) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A (M, K), B (U, K), and N cells in A's row order."""
    M, U, K, N = (data.draw(st.integers(*bounds)) for bounds in ((1, 6), (1, 6), (1, 5), (0, 30)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    A, B = (torch.randn(n, K, generator=generator, dtype=torch.float64) for n in (M, U))
    a = torch.randint(M, (N,), generator=generator).sort().values.int()
    b = torch.randint(U, (N,), generator=generator).int()
    return A, B, a, b


def pair_dot_reference(A: Tensor, B: Tensor, a: Tensor, b: Tensor) -> Tensor:
    dots = [float(A[i] @ B[j]) for i, j in zip(a.tolist(), b.tolist(), strict=True)]
    return torch.tensor(dots, dtype=torch.float64)


def weighted_row_sum_reference(v: Tensor, B: Tensor, b: Tensor, rows: list[int], num_rows: int) -> Tensor:
    sums = torch.zeros(num_rows, B.shape[1], dtype=torch.float64)
    for weight, j, row in zip(v.tolist(), b.tolist(), rows, strict=True):
        sums[row] += weight * B[j]
    return sums


@given(st.data())
def test_pair_dot(data: st.DataObject) -> None:
    A, B, a, b = draw_cells(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(primitives, "CPU_CHUNK", data.draw(st.sampled_from([1, 4, 4096])))
        got = pair_dot(A, B, a, b)
    torch.testing.assert_close(got, pair_dot_reference(A, B, a, b), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(pair_dot(A.float(), B.float(), a, b), got.float(), rtol=1e-4, atol=1e-4)


@given(st.data())
def test_weighted_row_sum(data: st.DataObject) -> None:
    A, B, a, b = draw_cells(data)
    v = torch.arange(len(a), dtype=torch.float64) - 3
    start = torch.cat([torch.zeros(1), torch.bincount(a, minlength=len(A)).cumsum(0)]).int()
    got = weighted_row_sum(v, B, b, start)
    torch.testing.assert_close(
        got, weighted_row_sum_reference(v, B, b, a.tolist(), len(A)), rtol=1e-12, atol=1e-12
    )
