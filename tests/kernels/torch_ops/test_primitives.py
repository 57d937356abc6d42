"""The two primitives, held to a loop in float64; where the compiled loops are kept."""

import shutil
import subprocess
import sys
from pathlib import Path

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


def test_a_loop_is_not_taken_from_another_source(tmp_path: Path) -> None:
    package = tmp_path / "cofi_dist"
    shutil.copytree(
        Path(primitives.__file__).parents[2], package, ignore=shutil.ignore_patterns("__pycache__")
    )
    found = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", HALF], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        where, half = done.stdout.split()
        assert Path(where).is_relative_to(tmp_path)
        found.append(float(half))
        file = package / "kernels" / "cpu" / "row_kernels.py"
        file.write_text(file.read_text().replace("return squares / 2", "return squares * 2"))
    assert found == [0.5, 2.0]


HALF = """
import numpy as np
from cofi_dist.kernels.base import Csr, Side
from cofi_dist.kernels.cpu import parallel_loops, row_kernels
from cofi_dist.kernels.cpu.schedule import by_rows
from cofi_dist.kernels.cpu.simd import vectors_of
one, zero, half = np.ones((1, 1)), np.zeros(1), np.zeros(1)
rows = by_rows(np.ones(1, np.int64))
ratings = Csr(rows.indptr, np.zeros(1, np.int32), np.ones(1))
sides = Side(np.zeros((1, 1)), zero), Side(one, zero)
parallel_loops.half_squared_errors(1, vectors_of(1, 8), rows.schedule(), ratings, *sides, half)
print(row_kernels.__file__, half[0])
"""
