"""The best factors: which are kept, and how they are restored."""

import math

import torch

from cofi_dist.training.best_factors import BestFactors
from cofi_dist.training.metrics import Accuracy, Criterion
from tests.support.problems import random_factors


def test_the_latest_factors_are_kept_until_some_are_measured_and_then_the_best() -> None:
    factors = random_factors(3, 2, 2, item_bias=True)
    best, seen = BestFactors(factors), []
    for epoch, rmse in enumerate([None, None, 0.9, None, 0.95, 0.8, 0.8, None], start=1):
        factors.X.fill_(epoch)
        best.update(epoch, None if rmse is None else Accuracy({"rmse": rmse, "mae": 0.5}))
        seen.append((best.epoch, best.validations_since_best))
    assert seen == [(1, 0), (2, 0), (3, 0), (3, 0), (3, 1), (6, 0), (6, 1), (6, 1)]
    best.restore()
    assert torch.equal(factors.X, torch.full_like(factors.X, 6))


def test_an_accuracy_that_is_no_number_is_never_the_best() -> None:
    factors = random_factors(3, 2, 2)
    best, seen = BestFactors(factors), []
    for epoch, rmse in enumerate([math.nan, 0.9, math.nan, math.inf, 0.8], start=1):
        best.update(epoch, Accuracy({"rmse": rmse, "mae": 0.5}))
        seen.append((best.epoch, best.accuracy and best.accuracy.deciding, best.validations_since_best))
    assert seen == [(1, None, 0), (2, 0.9, 0), (2, 0.9, 1), (2, 0.9, 2), (5, 0.8, 0)]


def test_the_best_lists_have_the_highest_figure() -> None:
    factors, criterion = random_factors(3, 2, 2), Criterion("ndcg", 10)
    best = BestFactors(factors, criterion)
    epochs = []
    for epoch, ndcg in enumerate([0.1, 0.3, math.nan, 0.3, 0.2, 0.31], start=1):
        best.update(epoch, Accuracy({"ndcg": ndcg}, criterion))
        epochs.append(best.epoch)
    assert epochs == [1, 2, 2, 2, 2, 6]


def test_every_factor_is_restored_and_copies_are_no_views() -> None:
    factors = random_factors(3, 2, 2, item_bias=True)
    want = {name: factor.clone() for name, factor in factors.by_name.items()}
    best = BestFactors(factors)
    best.update(1, None)
    for factor in factors.tensors:
        factor.zero_()
    best.restore()
    assert all(torch.equal(factor, want[name]) for name, factor in factors.by_name.items())
