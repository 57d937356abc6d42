"""The mean of draws: its product against numpy's singular values, its regulariser, its sums over ranks."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.factors import Factors
from cofi_dist.optim.mean_product import add_draw
from tests.support.problems import close, random_factors

M, U, K = 17, 23, 4


def scaled() -> Regulariser:
    generator = torch.Generator().manual_seed(0)
    scales = (1 + 9 * torch.rand(rows, 1, generator=generator, dtype=torch.float64) for rows in (M, U))
    return Regulariser(0.7, 0.2, *scales)


def rows_of(factors: Factors, start: int, stop: int) -> Factors:
    """The users of one rank; X and c are whole."""
    rows = slice(start, stop)
    c = None if factors.c is None else factors.c.clone()
    return Factors(factors.X.clone(), factors.W[rows].clone(), factors.b[:, rows].clone(), c)


def mean_of(draws: list[Factors], regulariser: Regulariser, bounds: tuple[int, ...] = (0, U)) -> Factors:
    """The mean by ranks that own the users between the bounds, put together."""
    pairs = list(itertools.pairwise(bounds))
    means = [rows_of(random_factors(M, U, K, item_bias=True, seed=99), *pair) for pair in pairs]
    for number, draw in enumerate(draws, 1):
        running = []
        for mean, (start, stop) in zip(means, pairs, strict=True):
            scale = None if regulariser.scale_W is None else regulariser.scale_W[start:stop]
            own = Regulariser(0.7, 0.2, regulariser.scale_X, scale)
            running.append(add_draw(mean, rows_of(draw, start, stop), number, own))
        sums = [next(each).tensors[0] for each in running]
        total = sum(each[0].clone() for each in sums)
        assert isinstance(total, Tensor)
        for each, going_on in zip(sums, running, strict=True):
            each[0] = total
            assert next(going_on, None) is None
    for mean in means:
        assert torch.equal(mean.X, means[0].X), "replicas of X drifted"
    W, b = torch.cat([m.W for m in means]), torch.cat([m.b for m in means], 1)
    return Factors(means[0].X, W, b, means[0].c)


def draws_of(number: int) -> list[Factors]:
    return [random_factors(M, U, K, item_bias=True, seed=seed) for seed in range(number)]


@pytest.mark.parametrize("bounds", [(0, U), (0, 5, 5, U)], ids=["one rank", "three ranks, one without users"])
@pytest.mark.parametrize("regulariser", [Regulariser(0.7), scaled()], ids=["power 0", "scaled"])
def test_of_two_draws_the_largest_singular_values_are_kept(
    bounds: tuple[int, ...], regulariser: Regulariser
) -> None:
    draws = draws_of(2)
    mean = mean_of(draws, regulariser, bounds)
    left, values, right = np.linalg.svd(sum((d.W @ d.X.T).numpy() / 2 for d in draws))
    close(mean.W @ mean.X.T, torch.from_numpy((left[:, :K] * values[:K]) @ right[:K]), 1e-10)


def test_draws_of_the_same_features_lose_nothing_and_biases_are_averaged() -> None:
    X, draws = random_factors(M, U, K).X, draws_of(7)
    same = [Factors(X * (1 + n), draw.W, draw.b, draw.c) for n, draw in enumerate(draws)]
    mean = mean_of(same, Regulariser(0.7))
    close(mean.W @ mean.X.T, torch.stack([d.W @ d.X.T for d in same]).mean(0), 1e-9)
    assert mean.c is not None
    close(mean.b, torch.stack([draw.b for draw in draws]).mean(0), 1e-12)
    close(mean.c, torch.stack([draw.c for draw in draws if draw.c is not None]).mean(0), 1e-12)


def test_no_other_size_of_a_feature_has_a_lower_regulariser() -> None:
    regulariser = scaled()
    mean = mean_of(draws_of(3), regulariser)
    assert regulariser.scale_W is not None
    assert regulariser.scale_X is not None
    of_W = (regulariser.scale_W * mean.W.square()).sum(0)
    of_X = (regulariser.scale_X * mean.X.square()).sum(0)
    close(of_W, of_X, 1e-9)


def test_draws_of_zeros_have_the_mean_zero() -> None:
    zeros = Factors(*(torch.zeros_like(t) for t in random_factors(M, U, K).tensors))
    mean = mean_of([Factors(zeros.X, zeros.W, zeros.b, torch.zeros(1, M, dtype=zeros.X.dtype))] * 3, scaled())
    assert not any(factor.any() for factor in (mean.X, mean.W, mean.b))
