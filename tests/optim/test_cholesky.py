"""Exact solutions of each row: batches, rows without a unique solution, float32."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sides import sides_of
from cofi_dist.data.ratings import Ratings
from cofi_dist.errors import RunError
from cofi_dist.kernels.base import RatingKernels, RidgeTerm, Side
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.optim import cholesky
from cofi_dist.optim.base import Solution, Solved
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from tests.support.als_problems import K, M, N, U, als_on, cost_of, drive
from tests.support.problems import close, random_factors, random_ratings, ridge_of_rows
from tests.support.weighted_problems import Problem, problems

CPU = torch.device("cpu")


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


def gram_of(fixed: Side[Tensor], weight: float) -> Tensor | None:
    """Weight times the Gram matrix of the rows (features, 1, bias); None if that is 0."""
    rows = torch.cat([fixed.features, torch.ones_like(fixed.bias)[:, None], fixed.bias[:, None]], 1)
    return weight * rows.T @ rows if weight else None


def ridge_of(
    fixed: Side[Tensor], kernels: RatingKernels, a0: float, *, weight: float, bias: bool
) -> RidgeTerm:
    """The regulariser of rows that all weigh the same, with 0.2 for biases."""
    return ridge_of_rows(kernels, weight, has_bias=bias, gram=gram_of(fixed, a0))


def minimisers_reference(
    problem: Problem, solved: Side[Tensor], fixed: Side[Tensor], ridge: RidgeTerm
) -> Side[Tensor]:
    """Where each user's 1/2 sum C (S - Y)^2 over all items, with the regulariser, is lowest; in float64."""
    Y, C = problem.all_pairs()
    F, offset = fixed.features.double(), fixed.bias.double()
    features, biases = solved.features.double(), solved.bias.double()
    K = F.shape[1]
    F_1 = torch.cat([F, torch.ones(len(F), 1, dtype=torch.float64)], 1)
    for row in range(len(features)):
        weight = torch.full((K + 1,), float(ridge.weight[row]), dtype=torch.float64)
        weight[K] = ridge.weight_b
        unknowns = K + 1 if ridge.has_bias else K
        target = Y[:, row] - offset - (0 if ridge.has_bias else biases[row])
        rows = F_1[:, :unknowns]
        A = rows.T @ (C[:, row, None] * rows) + weight[:unknowns].diag()
        found = torch.linalg.solve(A, rows.T @ (C[:, row] * target))
        features[row] = found[:K]
        if ridge.has_bias:
            biases[row] = found[K]
    return Side(features, biases)


def run_alone(solving: Solved) -> Solution:
    """Solve, with nothing to be summed."""
    with pytest.raises(StopIteration) as stopped:
        next(solving)
    solution: Solution = stopped.value.value
    return solution


def run_together(solvings: Iterable[Solved]) -> None:
    """Solve on several ranks, which take turns, and sum what they yield."""
    running = list(solvings)
    while True:
        pending = [next(solving, None) for solving in running]
        tensors = [p.tensors for p in pending if p is not None]
        if not tensors:
            return
        for parts in zip(*tensors, strict=True):
            total = torch.stack([part.sum(0) for part in parts]).sum(0)
            for part in parts:
                part[0] = total


@pytest.mark.parametrize("loops", [True, False], ids=["numba", "torch"])
@settings(max_examples=40)
@given(st.data())
def test_each_row_goes_to_where_the_cost_over_all_pairs_is_lowest(loops: bool, data: st.DataObject) -> None:
    problem = data.draw(problems())
    num_users, num_items = problem.R.shape
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    bias = data.draw(st.booleans())
    users, items = sides_of(
        random_factors(num_items, num_users, data.draw(st.sampled_from([1, 3, 5])), dtype, item_bias=True)
    )
    matrix = RatingMatrix(
        problem.csr(dtype, by_item=False),
        num_items,
        ReductionBlocks.single(num_users),
        CPU,
        dtype,
        tiled=False,
        backend=None if loops else TorchKernels,
    )
    ridge = ridge_of(items, matrix.by_user, problem.unknown_weight, weight=0.7, bias=bias)
    want = minimisers_reference(problem, users, items, ridge)
    solution = run_alone(cholesky.solve_by_cholesky(matrix.by_user, users, items, ridge, is_local=True))
    assert int(solution.singular) == 0
    assert float(solution.decrease) >= -1e-4
    for got, formula in zip(users, want, strict=True):
        close(got, formula, 1e-9 if dtype == torch.float64 else 1e-3)


@settings(max_examples=20)
@given(problems(), st.integers(0, 7))
def test_rows_of_several_ranks_get_the_gram_once(problem: Problem, cut: int) -> None:
    num_users, num_items = problem.R.shape
    users, items = sides_of(random_factors(num_items, num_users, 3, item_bias=True))
    # the items' ratings are cut into those of the first users and the others
    kernels = []
    for is_first in (True, False):
        mine = problem.R & ((np.arange(num_users) < cut) == is_first)[:, None]
        kernels.append(TorchKernels(replace(problem, R=mine).csr(torch.float64, by_item=True), CPU))
    whole = TorchKernels(problem.csr(torch.float64, by_item=True), CPU)
    ridge = ridge_of(users, whole, problem.unknown_weight, weight=0.7, bias=True)
    copies = [Side(items.features.clone(), items.bias.clone()) for _ in kernels]
    run_together(
        cholesky.solve_by_cholesky(mine, copy, users, ridge, is_local=False)
        for mine, copy in zip(kernels, copies, strict=True)
    )
    run_alone(cholesky.solve_by_cholesky(whole, items, users, ridge, is_local=True))
    for copy in copies:
        close(copy.features, items.features, 1e-9)
        close(copy.bias, items.bias, 1e-9)


@pytest.mark.parametrize(("num_items", "singular"), [(9, 0), (3, 4)], ids=["enough items", "too few"])
def test_with_unknown_pairs_few_ratings_are_enough_without_a_regulariser(
    num_items: int, singular: int
) -> None:
    """4 users with at most one rating each have 5 features; what matters is the number of items."""
    one = np.ones((4, num_items))
    R = np.arange(4)[:, None] == np.arange(num_items)[None] + 1
    problem = Problem(R, one, one, 0.5, True, True)
    for dtype in (torch.float32, torch.float64):
        users, items = sides_of(random_factors(num_items, 4, 5, dtype, item_bias=True))
        kernels = TorchKernels(problem.csr(dtype, by_item=False), CPU)
        ridge = ridge_of(items, kernels, 0.5, weight=0.0, bias=False)
        before = users.features.clone()
        solution = run_alone(cholesky.solve_by_cholesky(kernels, users, items, ridge, is_local=True))
        assert int(solution.singular) == singular
        if singular:
            assert torch.equal(users.features, before)
        else:
            want = minimisers_reference(problem, users, items, ridge)
            close(users.features, want.features, 1e-9 if dtype == torch.float64 else 1e-3)
