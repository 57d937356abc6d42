"""Products with a Gram matrix against numpy, and row by row the same bits."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.gram import add_gram_product
from cofi_dist.sharding.reduction_tree import ReductionBlocks


def random_side(rows: int, K: int, dtype: torch.dtype, seed: int) -> Side[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(rows, K + 1, generator=generator, dtype=torch.float64).to(dtype)
    return Side(both[:, :K].contiguous(), both[:, K].contiguous())


def extended(side: Side[torch.Tensor], place_of_one: int) -> np.ndarray:
    """(features, 1, bias), or (features, bias, 1), in float64."""
    features, bias = side.features.double().numpy(), side.bias.double().numpy()
    columns = [bias, np.ones(len(bias))] if place_of_one == 1 else [np.ones(len(bias)), bias]
    return np.column_stack([features, *columns])


@given(st.data())
def test_products_are_those_of_the_formula(data: st.DataObject) -> None:
    K, rows = data.draw(st.sampled_from([1, 16, 17])), data.draw(st.integers(0, 9))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    constant = data.draw(st.sampled_from([0.0, 1.0]))
    fixed, own, sums = (random_side(n, K, dtype, seed) for seed, n in enumerate((7, rows, rows)))
    matrix = extended(fixed, 0).T @ extended(fixed, 0)
    start = np.column_stack([sums.features.double().numpy(), sums.bias.double().numpy()])
    vector = extended(own, 1)
    vector[:, -1] *= constant
    want = start + (vector @ matrix)[:, : K + 1]
    add_gram_product(sums, own, torch.from_numpy(matrix).to(dtype), constant=constant)
    got = np.column_stack([sums.features.double().numpy(), sums.bias.double().numpy()])
    scale = np.abs(want).max(initial=1.0) * (1e-14 if dtype == torch.float64 else 1e-5)
    np.testing.assert_allclose(got, want, atol=scale)


def test_a_row_has_the_same_bits_beside_any_other_rows() -> None:
    own, sums = random_side(50, 100, torch.float32, 1), random_side(50, 100, torch.float32, 2)
    gram = torch.randn(102, 102, generator=torch.Generator().manual_seed(3))
    alone = Side(sums.features[20:23].clone(), sums.bias[20:23].clone())
    add_gram_product(sums, own, gram, constant=1)
    add_gram_product(alone, Side(own.features[20:23], own.bias[20:23]), gram, constant=1)
    assert torch.equal(alone.features, sums.features[20:23])
    assert torch.equal(alone.bias, sums.bias[20:23])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [0, 1, 5, 33])
def test_gram_matrices_are_sums_over_all_rows(rows: int, dtype: torch.dtype) -> None:
    side = random_side(rows, 6, dtype, 4)
    want = extended(side, 0).T @ extended(side, 0)
    sums = BlockSums(ReductionBlocks.single(rows))
    np.testing.assert_allclose(sums.gram_over_items(side).numpy(), want, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(sums.gram_over_users(side).sum(0).numpy(), want, rtol=1e-12, atol=1e-13)
