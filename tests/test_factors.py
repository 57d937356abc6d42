"""The factors by name."""

import pytest
import torch

from cofi_dist.factors import Factors


@pytest.mark.parametrize("item_bias", [False, True])
def test_item_biases_are_zeros_if_the_model_has_none(item_bias: bool) -> None:
    X, W, b = torch.ones(11, 4), torch.ones(9, 4), torch.ones(1, 9)
    factors = Factors(X, W, b, torch.ones(1, 11) if item_bias else None)
    assert [tensor is not None for tensor in factors.tensors] == [True] * (4 if item_bias else 3)
    assert factors.item_bias_or_zeros().tolist() == [float(item_bias)] * 11
