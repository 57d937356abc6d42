"""Exact solutions of each row: batches, rows without a unique solution, float32."""

import numpy as np
import pytest
import torch

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.data.ratings import Ratings
from cofi_dist.errors import RunError
from cofi_dist.optim import cholesky
from tests.support.als_problems import K, M, N, U, als_on, cost_of, drive
from tests.support.problems import close, random_factors, random_ratings


def test_what_has_no_unique_solution_is_said() -> None:
    ratings = random_ratings(U, M, N)
    few = int((np.bincount(ratings.user, minlength=U) < K + 1).sum())
    als = als_on(ratings, random_factors(M, U, K), Regulariser(0.0), steps=0)
    said = f"{few} of the users' least squares have no unique solution: .*set train.lambda_ higher"
    with pytest.raises(RunError, match=said) as raised:
        drive(als)
    assert raised.value.shared, "every rank knows it"


@pytest.mark.parametrize("counts", [[], [0, 0], [7, 3, 0, 9000, 5, 5, 40, 41, 100]])
def test_batches_are_every_row_once_and_of_like_lengths(counts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cholesky, "MAX_BATCH_NUMBERS", 3 * 6**2)
        found = list(cholesky.batches(torch.tensor(counts), 5))
    assert sorted(int(row) for batch in found for row in batch) == list(range(len(counts)))
    for batch in found:
        lengths = [counts[int(row)] for row in batch]
        assert len(batch) <= 3
        assert min(lengths) >= max(lengths) / 2
        assert (max(lengths) <= 5) == (min(lengths) <= 5), "the smaller equations are those of a whole batch"


def test_pieces_of_long_rows_are_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = random_ratings(U, M, N)
    found = []
    for numbers in (2**23, 2 * (K + 1) ** 2):
        monkeypatch.setattr(cholesky, "MAX_BATCH_NUMBERS", numbers)
        factors = random_factors(M, U, K, item_bias=True)
        drive(als_on(ratings, factors, steps=0))
        found.append(factors)
    for name, factor in found[0].by_name.items():
        close(factor, found[1].by_name[name], 1e-12)


def test_an_unregularised_bias_of_factors_that_hardly_differ_is_solved_in_float32() -> None:
    users = 3000
    ratings = Ratings(
        np.arange(users, dtype=np.int32), np.zeros(users, np.int32), np.random.default_rng(0).random(users)
    )
    factors = random_factors(1, users, 4, torch.float32, item_bias=True)
    factors.W.fill_(100.0)
    als = als_on(ratings, factors, Regulariser(1.0), steps=0)
    drive(als)
    assert (
        cost_of(random_factors(1, users, 4, torch.float32, item_bias=True), ratings, Regulariser(1.0)) > als.J
    )
