"""The loops over factors: Adam's step held to torch's, sums of squares to numpy's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.kernels.cpu import factor_loops
from cofi_dist.kernels.cpu.factor_loops import AdamSettings


@pytest.mark.parametrize("threads", [1, 3])
@given(st.integers(0, 40), st.floats(0, 2))
def test_steps_of_adam_are_torchs(threads: int, size: int, weight_decay: float) -> None:
    rng, (lr, beta1, beta2, eps) = np.random.default_rng(size), (0.1, 0.9, 0.999, 1e-8)
    factor, (mean, square) = rng.standard_normal(size), np.zeros((2, size))
    want = torch.nn.Parameter(torch.tensor(factor))
    adam = torch.optim.Adam([want], lr, (beta1, beta2), eps, weight_decay)
    for t in range(1, 4):
        grad = rng.standard_normal(size)
        want.grad = torch.tensor(grad)
        adam.step()
        scalars = beta1, beta2, lr / (1 - beta1**t), np.sqrt(1 - beta2**t), eps, weight_decay
        settings = AdamSettings(*(np.float64(number) for number in scalars))
        factor_loops.adam(threads, factor, grad, mean, square, settings)
    np.testing.assert_allclose(factor, want.detach().numpy(), rtol=1e-9, atol=1e-12)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_squares_are_summed_over_each_run_of_rows(lengths: list[int]) -> None:
    rng, stops = np.random.default_rng(0), np.cumsum(lengths)
    factor, weight = rng.standard_normal((stops[-1], 3)).astype(np.float32), rng.random(stops[-1])
    weight = weight.astype(np.float32)
    out = np.ones((len(lengths), 3))
    factor_loops.weighted_squares(stops - lengths, stops, factor, weight, out)
    each = weight[:, None].astype(np.float64) * factor.astype(np.float64) ** 2
    want = [1 + each[stop - length : stop].sum(0) for length, stop in zip(lengths, stops, strict=True)]
    np.testing.assert_allclose(out, want, rtol=1e-12)
