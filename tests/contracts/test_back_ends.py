"""What every back end, and every cost on it, must do: agree with the formula, and add up over ranks."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cofi_dist.cost import Cost, ErrorTerm
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.kernels.cpu import schedule
from cofi_dist.kernels.rating_matrix import Backend
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import (
    close,
    dc_reference,
    error_term_reference,
    random_factors,
    random_ratings,
    ridge_of_rows,
    shard_of,
    slice_factors,
)
from tests.support.triton_interpreter import INTERPRETED, interpreted, needs_triton, triton_backend

CPU = torch.device("cpu")
BACK_ENDS = ["numba", "torch", pytest.param("triton", marks=needs_triton)]
COSTS = ["dense", *BACK_ENDS]


def backend_of(name: str) -> Backend | None:
    """Return a back end, or None for that of a CPU."""
    return {"numba": lambda: None, "torch": lambda: TorchKernels, "triton": triton_backend}[name]()


def make_cost(name: str, shard: UserShard, dtype: torch.dtype) -> Cost:
    """Return the dense cost, or the sparse one on a back end."""
    if name == "dense":
        return DenseCost(shard, CPU)
    return SparseCost(build_rating_matrix(shard, CPU, dtype, backend=backend_of(name)))


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    with interpreted(piece=3) if INTERPRETED else nullcontext():
        yield


def assert_term(got: ErrorTerm, want: tuple[float, Tensor, Tensor, Tensor], rtol: float) -> None:
    value, dX, dW, db = want
    assert got.value is not None
    assert got.value.dtype == torch.float64
    assert float(got.value) == pytest.approx(value, rel=rtol, abs=rtol)
    for ours, formula in ((got.dX[0], dX), *zip(got.user_gradients, (dW, db), strict=True)):
        assert ours.shape == formula.shape
        close(ours, formula, rtol)


@pytest.mark.parametrize("name", COSTS)
@given(st.data())
def test_any_problem_matches_the_formula(name: str, data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    num_ratings = data.draw(st.integers(0, num_users * num_items))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    ratings = random_ratings(num_users, num_items, num_ratings, seed=data.draw(st.integers(0, 99)))
    # one vector and several, the last one full or not
    num_features = data.draw(st.sampled_from([1, 3, 5, 16, 17, 100]))
    item_bias = data.draw(st.booleans())
    factors = random_factors(num_items, num_users, num_features, dtype, item_bias=item_bias)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "TILE_RATINGS", data.draw(st.sampled_from([1, 3, 1000])))
        cost = make_cost(name, UserShard.single_block(UserRange(0, num_users), num_items, ratings), dtype)
    rtol = 1e-12 if dtype == torch.float64 else 1e-4
    term = cost(factors, with_cost=True)
    assert_term(term, error_term_reference(factors, ratings), rtol)
    assert (term.dc is not None) == item_bias
    if term.dc is not None:
        assert term.dc.shape == (1, 1, num_items)
        close(term.dc[0], dc_reference(factors, ratings), rtol)


@pytest.mark.parametrize("name", COSTS)
@given(st.data())
def test_ranks_sum_to_the_whole_however_the_users_are_cut(name: str, data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    ratings = random_ratings(num_users, num_items, data.draw(st.integers(0, num_users * num_items)))
    cuts = sorted(data.draw(st.lists(st.integers(0, num_users), max_size=3)))
    factors = random_factors(num_items, num_users, 3, item_bias=True)
    terms = []
    for start, stop in pairwise([0, *cuts, num_users]):
        users = UserRange(start, stop)
        cost = make_cost(name, shard_of(ratings, users, num_items), torch.float64)
        terms.append(cost(slice_factors(factors, users), with_cost=True))
    value = torch.stack([t.value for t in terms if t.value is not None]).sum()
    dX, dc = (torch.stack(parts).sum(0) for parts in zip(*(t.to_reduce for t in terms), strict=True))
    dW, db = torch.cat([t.dW for t in terms]), torch.cat([t.db for t in terms], dim=1)
    assert_term(ErrorTerm(value, dX, lambda: (dW, db)), error_term_reference(factors, ratings), 1e-12)
    close(dc[0], dc_reference(factors, ratings), 1e-12)


@pytest.mark.parametrize("name", COSTS)
def test_a_rank_without_users_gives_zeros(name: str) -> None:
    nothing = Ratings(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
    cost = make_cost(name, UserShard.single_block(UserRange(4, 4), 3, nothing), torch.float32)
    term = cost(random_factors(3, 0, 2, torch.float32, item_bias=True), with_cost=True)
    assert term.value is not None
    assert term.dc is not None
    assert [float(t.abs().sum()) for t in (term.value, *term.to_reduce)] == [0.0, 0.0, 0.0]
    assert (term.dW.shape, term.db.shape) == ((0, 2), (1, 0))


@pytest.mark.parametrize("name", COSTS)
def test_gradients_are_those_of_the_value(name: str) -> None:
    ratings = random_ratings(5, 6, 17)
    cost = make_cost(name, UserShard.single_block(UserRange(0, 5), 6, ratings), torch.float64)
    factors = random_factors(6, 5, 3, item_bias=True)
    term = cost(factors, with_cost=False)
    assert term.value is None
    assert term.dc is not None
    step = 1e-6
    gradients = [gradient.clone() for gradient in (term.dX[0], term.dW, term.db, term.dc[0])]
    for letter, gradient in zip("XWbc", gradients, strict=True):
        at = (0, 1)
        values = []
        for sign in (+1, -1):
            moved = {n: getattr(factors, n).clone() for n in ("X", "W", "b", "c")}
            moved[letter][at] += sign * step
            value = cost(Factors(**moved), with_cost=True).value
            assert value is not None
            values.append(float(value))
        assert float(gradient[at]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-6), letter


@pytest.mark.parametrize("name", COSTS)
def test_the_factors_are_left_alone(name: str) -> None:
    shard = UserShard.single_block(UserRange(0, 4), 5, random_ratings(4, 5, 9))
    factors = random_factors(5, 4, 2, item_bias=True)
    before = [t.clone() for t in factors.tensors]
    make_cost(name, shard, torch.float64)(factors, with_cost=True)
    after = factors.tensors
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not any(t.requires_grad for t in after)


def row_sums_reference(
    ratings: list[tuple[int, int, float]], solved: Side[Tensor], fixed: Side[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum err p, err and 1/2 err^2 over the ratings (row, row of the fixed side, value) of each row."""
    Z, z, P, offset = (t.double() for t in (*solved, *fixed))
    sums, sums_b, half = torch.zeros_like(Z), torch.zeros_like(z), torch.zeros_like(z)
    for r, q, value in ratings:
        err = P[q] @ Z[r] + z[r] + offset[q] - value
        sums[r] += err * P[q]
        sums_b[r] += err
        half[r] += err * err / 2
    return sums, sums_b, half


@pytest.mark.parametrize("name", BACK_ENDS)
@settings(max_examples=25)
@given(st.data())
def test_sums_over_rows_match_the_formula(name: str, data: st.DataObject) -> None:
    num_users, num_items = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    ratings = random_ratings(num_users, num_items, data.draw(st.integers(0, num_users * num_items)))
    factors = random_factors(
        num_items, num_users, data.draw(st.sampled_from([1, 5, 17])), dtype, item_bias=True
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "TILE_RATINGS", data.draw(st.sampled_from([1, 3, 1000])))
        shard = UserShard.single_block(UserRange(0, num_users), num_items, ratings)
        matrix = build_rating_matrix(shard, CPU, dtype, backend=backend_of(name))
    (users, items), rtol = sides_of(factors), 1e-12 if dtype == torch.float64 else 1e-4
    cells = list(zip(ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist(), strict=True))
    turned = [(item, user, value) for user, item, value in cells]
    for kernels, solved, fixed, triples in (
        (matrix.by_user, users, items, cells),
        (matrix.by_item, items, users, turned),
    ):
        sums, sums_b, half = row_sums_reference(triples, solved, fixed)
        close(kernels.half_squared_errors(solved, fixed), half, rtol)
        got, got_b, got_half = kernels.error_gradients(solved, fixed)
        for ours, formula in ((got[0], sums), (got_b[0], sums_b), (got_half.sum(0), half)):
            close(ours, formula, rtol)
        # without values and the fixed side's bias, the error is the product with a direction
        no_bias = Side(fixed.features, torch.zeros_like(fixed.bias))
        formula, formula_b, _ = row_sums_reference([(r, q, 0.0) for r, q, _ in triples], solved, no_bias)
        got, got_b = kernels.normal_products(solved, fixed)
        close(got[0], formula, rtol)
        close(got_b[0], formula_b, rtol)
        assert kernels.counts.tolist() == [sum(r == row for r, _, _ in triples) for row in range(len(half))]


@pytest.mark.parametrize("name", BACK_ENDS)
def test_the_ratings_are_given_back_row_by_row(name: str) -> None:
    ratings = random_ratings(9, 7, 30)
    shard = UserShard.single_block(UserRange(0, 9), 7, ratings)
    matrix = build_rating_matrix(shard, CPU, torch.float64, tiled=False, backend=backend_of(name))
    order = np.argsort(ratings.item, kind="stable")
    for kernels, row, other, value in (
        (matrix.by_user, ratings.user, ratings.item, ratings.value),
        (matrix.by_item, ratings.item[order], ratings.user[order], ratings.value[order]),
    ):
        indptr, indices, values = kernels.csr
        assert np.repeat(np.arange(len(indptr) - 1), np.diff(indptr.numpy())).tolist() == row.tolist()
        assert indices.tolist() == other.tolist()
        assert values.tolist() == value.tolist()


@pytest.mark.parametrize("name", BACK_ENDS)
def test_a_row_that_is_solved_by_itself_falls_by_what_is_said_or_nothing_moves(name: str) -> None:
    shard = UserShard.single_block(UserRange(0, 9), 7, random_ratings(9, 7, 30))
    matrix = build_rating_matrix(shard, CPU, torch.float64, backend=backend_of(name))
    factors = random_factors(7, 9, 3, item_bias=True)
    users, items = sides_of(factors)
    before = Side(users.features.clone(), users.bias.clone())
    ridge = ridge_of_rows(matrix.by_user, 0.7)

    def parts(users: Side[Tensor]) -> tuple[Tensor, Tensor]:
        half = matrix.by_user.half_squared_errors(users, items)
        return half, half + 0.35 * users.features.square().sum(1) + 0.1 * users.bias.square()

    done = matrix.by_user.solve_rows(users, items, ridge, torch.ones(3).double(), 2)
    if done is None:
        assert all(torch.equal(now, then) for now, then in zip(users, before, strict=True))
        return
    half, J = parts(before)
    close(done.half_squared_errors, half)
    close(done.decreases, J - parts(users)[1])
    assert bool((done.decreases[matrix.by_user.counts > 0] > 0).all())


def test_rows_in_several_tiles_are_not_solved_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "TILE_RATINGS", 5)
    shard = UserShard.single_block(UserRange(0, 9), 7, random_ratings(9, 7, 30))
    matrix = build_rating_matrix(shard, CPU, torch.float64)
    users, items = sides_of(random_factors(7, 9, 3, item_bias=True))
    ridge = ridge_of_rows(matrix.by_item, 0.7)
    assert matrix.by_item.solve_rows(items, users, ridge, torch.ones(3).double(), 2) is None
