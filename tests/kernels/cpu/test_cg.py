"""Conjugate gradients of the compiled loops, held to the textbook's in float64, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cofi_dist.kernels.base import RidgeTerm, Side
from cofi_dist.optim.conjugate_gradient import NumbaCG, TorchCG

Array = NDArray[np.float64]


def cg_reference(A: Array, residual: Array, inv_diag: Array, steps: int) -> tuple[Array, float]:
    """What so many steps move the solution by, and by how much x A x / 2 - residual x falls."""
    x, direction = np.zeros_like(residual), inv_diag * residual
    start = residual
    for _ in range(steps):
        norm2, product = residual @ (inv_diag * residual), A @ direction
        if not norm2 > 0 or not direction @ product > 0:
            break
        step_size = norm2 / (direction @ product)
        x, residual = x + step_size * direction, residual - step_size * product
        direction = inv_diag * residual + residual @ (inv_diag * residual) / norm2 * direction
    return x, float(start @ x - x @ A @ x / 2)


@pytest.mark.parametrize("kind", [NumbaCG, TorchCG])
@given(st.integers(0, 99), st.booleans())
def test_steps_are_the_textbooks(kind: type[NumbaCG | TorchCG], seed: int, has_bias: bool) -> None:
    rng, (R, K, steps) = np.random.default_rng(seed), (4, 3, 2)
    counts = rng.integers(0, 6, R)  # rows without ratings too
    rows = [np.column_stack([rng.standard_normal((n, K)), np.full(n, float(has_bias))]) for n in counts]
    normal = np.stack([P.T @ P for P in rows])
    gradient_sums, start = rng.standard_normal((2, R, K + 1))
    weight, mean_square, weight_b = rng.random(R) + 0.1, rng.random(K), 0.3

    def side(both: Array) -> Side[torch.Tensor]:
        return Side(torch.tensor(both[:, :-1]), torch.tensor(both[:, -1]))

    term = RidgeTerm(
        weight=torch.tensor(weight),
        weight_b=weight_b,
        has_bias=has_bias,
        counts=torch.tensor(counts).double(),
        curvature=torch.tensor(counts).double(),
        total_curvature=float(counts.sum()),
    )
    solved = side(start)
    cg = kind(solved, side(gradient_sums), torch.tensor(mean_square), term)
    for _ in range(steps):
        direction = torch.cat([cg.direction.features, cg.direction.bias[:, None]], 1).numpy()
        cg.step(side(np.einsum("rkl,rl->rk", normal, direction)))

    moved = torch.cat([solved.features, solved.bias[:, None]], 1).numpy() - start
    decrease = 0.0
    for r in range(R):
        ridge = np.append(np.full(K, weight[r]), weight_b)
        inv_diag = np.append(1 / (weight[r] + counts[r] * mean_square), has_bias / (counts[r] + weight_b))
        residual = -(gradient_sums[r] + ridge * start[r])
        want, fell = cg_reference(normal[r] + np.diag(ridge), residual, inv_diag, steps)
        np.testing.assert_allclose(moved[r], want, rtol=1e-9, atol=1e-9)
        decrease += fell
    assert float(cg.decreases.sum()) == pytest.approx(decrease, rel=1e-9)
