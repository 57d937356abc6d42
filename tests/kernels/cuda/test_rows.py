"""Rows by rows and by a matrix, each as if it were alone, by Triton's interpreter."""

import pytest
import torch

from cofi_dist.kernels.base import Side
from cofi_dist.kernels.gram import add_gram_product
from tests.support.problems import close
from tests.support.triton_interpreter import needs_triton

pytestmark = needs_triton

ROWS = 7


def _rows(num_features: int, dtype: torch.dtype, seed: int) -> Side[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(ROWS, num_features, generator=generator, dtype=torch.float64)
    return Side(features.to(dtype), torch.randn(ROWS, generator=generator, dtype=torch.float64).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_features", [1, 5, 16, 100])
def test_rows_are_multiplied_as_by_the_formula_and_alike_wherever_they_lie(
    num_features: int, dtype: torch.dtype
) -> None:
    from cofi_dist.kernels.cuda.rows import row_dots

    A, B = (_rows(num_features, dtype, seed).features for seed in (0, 1))
    dots = row_dots(A, B)
    close(dots, (A.double() * B.double()).sum(1), 1e-12 if dtype == torch.float64 else 1e-4)
    for start, stop in ((0, 3), (3, 4), (2, ROWS), (1, 1)):
        assert torch.equal(row_dots(A[start:stop], B[start:stop]), dots[start:stop])


@pytest.mark.parametrize("constant", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_features", [1, 5])
def test_the_gram_product_is_that_of_the_loops_and_alike_wherever_rows_lie(
    num_features: int, dtype: torch.dtype, constant: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cofi_dist.kernels.cuda import rows as in_order

    monkeypatch.setattr(in_order, "TILE", 64)  # some rows at once, the last tile not full
    rows, before = _rows(num_features, dtype, 0), _rows(num_features, dtype, 1)
    half = torch.randn(num_features + 2, num_features + 2, generator=torch.Generator().manual_seed(2)).to(
        dtype
    )
    gram = half @ half.T
    want, got = (Side(*(each.clone() for each in before)) for _ in range(2))
    add_gram_product(want, rows, gram, constant=constant, fixes_order=False)
    in_order.add_gram_products(got, rows, gram, constant=constant)
    for ours, loops in zip(got, want, strict=True):
        close(ours, loops, 1e-12 if dtype == torch.float64 else 1e-4)
    for start, stop in ((0, 3), (3, 4), (2, ROWS), (1, 1)):
        part = Side(*(each[start:stop].clone() for each in before))
        in_order.add_gram_products(part, Side(*(each[start:stop] for each in rows)), gram, constant=constant)
        for ours, whole in zip(part, got, strict=True):
            assert torch.equal(ours, whole[start:stop])


def test_sums_that_lie_anywhere_are_added_to_in_place() -> None:
    from cofi_dist.kernels.cuda.rows import add_gram_products

    rows, memory = _rows(5, torch.float32, 0), torch.zeros(ROWS * 6 + 1)
    gram = torch.eye(7)
    sums = Side(memory[1 : 1 + ROWS * 5].view(ROWS, 5), memory[1 + ROWS * 5 :])
    assert sums.features.data_ptr() % 16
    add_gram_products(sums, rows, gram, constant=0)
    assert torch.equal(sums.features, rows.features)
    assert torch.equal(sums.bias, rows.bias)
