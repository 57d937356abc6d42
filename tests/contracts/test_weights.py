"""What every back end does with weights and with the unknown pairs: the formulas of `kernels/base.py`."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix, unknown_pairs
from cofi_dist.data.shard import UserShard
from cofi_dist.kernels.base import Csr, Side, WeightedCsr
from cofi_dist.kernels.cpu import schedule
from cofi_dist.kernels.rating_matrix import Backend, RatingMatrix
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from tests.support.problems import close, random_factors, slice_factors
from tests.support.triton_interpreter import INTERPRETED, interpreted, needs_triton, triton_backend
from tests.support.weighted_problems import Problem, error_term_of_all_pairs, problems

CPU = torch.device("cpu")
BACK_ENDS = ["numba", "torch", pytest.param("triton", marks=needs_triton)]
COSTS = ["dense", *BACK_ENDS]
# Rows of several vectors and of one; few kinds, because each is compiled for each kind of weights.
SHAPES = [(torch.float32, 17), (torch.float64, 3)]


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    with interpreted(piece=3) if INTERPRETED else nullcontext():
        yield


def backend_of(name: str) -> Backend | None:
    """A back end, or None for that of a CPU."""
    return {"numba": lambda: None, "torch": lambda: TorchKernels, "triton": triton_backend}[name]()


def matrix_of(name: str, csr: Csr | WeightedCsr, num_items: int, dtype: torch.dtype) -> RatingMatrix:
    """Hold the ratings, given user by user, in both orders."""
    blocks = ReductionBlocks.single(len(csr.indptr) - 1)
    return RatingMatrix(csr, num_items, blocks, CPU, dtype, tiled=False, backend=backend_of(name))


def cost_of(name: str, shard: UserShard, problem: Problem, dtype: torch.dtype, *, user_bias: bool) -> Cost:
    """The dense cost, or the sparse one on a back end."""
    a0 = problem.unknown_weight
    if name == "dense":
        return DenseCost(shard, CPU, a0, user_bias)
    ratings = build_rating_matrix(shard, CPU, dtype, unknown_weight=a0, backend=backend_of(name))
    return SparseCost(ratings, unknown_pairs(ratings, a0), user_bias=user_bias)


@pytest.mark.parametrize("name", COSTS)
@settings(max_examples=50)
@given(st.data())
def test_the_error_term_is_that_of_all_pairs_on_any_ranks(name: str, data: st.DataObject) -> None:
    problem = data.draw(problems())
    num_users, num_items = problem.R.shape
    dtype, num_features = data.draw(st.sampled_from(SHAPES))
    item_bias, user_bias = data.draw(st.booleans()), data.draw(st.booleans())
    factors = random_factors(num_items, num_users, num_features, dtype, item_bias=item_bias)
    if not user_bias:
        factors.b.zero_()
    cuts = sorted(data.draw(st.lists(st.integers(0, num_users), max_size=2)))
    of_ranks = [UserRange(start, stop) for start, stop in pairwise([0, *cuts, num_users])]
    terms = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "TILE_RATINGS", data.draw(st.sampled_from([1, 3, 1000])))
        for users in of_ranks:
            cost = cost_of(name, problem.shard(users), problem, dtype, user_bias=user_bias)
            terms.append(cost(slice_factors(factors, users), with_cost=True))
    want, rtol = error_term_of_all_pairs(problem, factors), 1e-12 if dtype == torch.float64 else 1e-4
    # the items' gradients are completed when all is summed, and after the users' gradients
    got = {
        "value": torch.stack([term.value.sum() for term in terms if term.value is not None]).sum(),
        "W": torch.cat([term.dW for term in terms]),
        "b": torch.cat([term.db for term in terms], 1),
    }
    for parts in zip(*(term.to_reduce for term in terms), strict=True):
        total = torch.stack([part.sum(0) for part in parts]).sum(0)
        for part in parts:
            part[0] = total
    scale = problem.unknown_weight * float((factors.X @ factors.W.T).square().sum())
    assert float(got["value"]) == pytest.approx(float(want["value"]), rel=rtol, abs=rtol * max(1, scale))
    close(got["W"], want["W"], rtol)
    close(got["b"], want["b"] if user_bias else torch.zeros_like(want["b"]), rtol)
    for term in terms:
        term.complete_item_gradients()
        close(term.dX[0], want["X"], rtol)
        assert (term.dc is not None) == item_bias
        if term.dc is not None:
            close(term.dc[0], want["c"], rtol)


def row_sums_reference(
    problem: Problem, solved: Side[Tensor], fixed: Side[Tensor], *, by_item: bool
) -> dict[str, Tensor]:
    """Return every sum over the known pairs of each row, in float64, from whole matrices."""
    R, Y, C = (torch.from_numpy(A.T if by_item else A) for A in (problem.R, problem.Y, problem.C))
    (Z, z), (F, offset) = (tuple(t.double() for t in side) for side in (solved, fixed))
    a0 = problem.unknown_weight
    S = Z @ F.T + z[:, None] + offset
    err = (C * (S - Y) - a0 * S) * R
    d = (C - a0) * R
    products = d * (Z @ F.T + z[:, None])
    return {
        "error gradients": err @ F,
        "error gradients of biases": err.sum(1),
        "halves": ((C * (S - Y) ** 2 - a0 * S**2) * R).sum(1) / 2,
        "normal products": products @ F,
        "normal products of biases": products.sum(1),
        "curvature": d.sum(1),
        "counts": R.double().sum(1),
    }


@pytest.mark.parametrize("name", BACK_ENDS)
@settings(max_examples=25)
@given(st.data())
def test_weighted_sums_over_rows_match_the_formula(name: str, data: st.DataObject) -> None:
    problem = data.draw(problems())
    dtype, K = data.draw(st.sampled_from(SHAPES))
    num_users, num_items = problem.R.shape
    users, items = sides_of(random_factors(num_items, num_users, K, dtype, item_bias=True))
    matrix = matrix_of(name, problem.csr(dtype, by_item=False), num_items, dtype)
    for by_item, kernels, solved, fixed in (
        (False, matrix.by_user, users, items),
        (True, matrix.by_item, items, users),
    ):
        sums, sums_b, half = kernels.error_gradients(solved, fixed)
        products, products_b = kernels.normal_products(solved, fixed)
        got = {
            "error gradients": sums.sum(0),
            "error gradients of biases": sums_b.sum(0),
            "halves": half.sum(0),
            "normal products": products.sum(0),
            "normal products of biases": products_b.sum(0),
            "curvature": kernels.curvature,
            "counts": kernels.counts,
        }
        want = row_sums_reference(problem, solved, fixed, by_item=by_item)
        for what, formula in want.items():
            close(got[what], formula, 1e-12 if dtype == torch.float64 else 2e-5)
        assert torch.equal(kernels.half_squared_errors(solved, fixed), half.sum(0))


@pytest.mark.parametrize("name", BACK_ENDS)
def test_weights_of_one_without_unknown_pairs_are_no_weights(name: str) -> None:
    rng = np.random.default_rng(0)
    R, Y = rng.random((9, 7)) < 0.5, rng.standard_normal((9, 7))
    one = np.ones_like(Y)
    users, items = sides_of(random_factors(7, 9, 5, item_bias=True))
    csr = Problem(R, Y, one, 0.0, False, True).csr(torch.float64, by_item=False)
    plain = matrix_of(name, Csr(csr.indptr, csr.indices, Y[R]), 7, torch.float64).by_user
    assert plain.weights == (1.0, 0.0)
    for weights in (np.float64(1), np.ones(len(csr.indices))):
        weighted = matrix_of(name, csr._replace(weights=weights), 7, torch.float64).by_user
        for kernels in (plain, weighted):
            assert kernels.curvature.tolist() == R.sum(1).tolist()
        for got, want in zip(
            (*weighted.error_gradients(users, items), *weighted.normal_products(users, items)),
            (*plain.error_gradients(users, items), *plain.normal_products(users, items)),
            strict=True,
        ):
            close(got, want, 1e-14)


@pytest.mark.parametrize("name", BACK_ENDS)
@pytest.mark.parametrize("equal", [False, True], ids=["arrays", "numbers"])
def test_targets_and_weights_are_given_back_row_by_row(name: str, equal: bool) -> None:
    rng = np.random.default_rng(0)
    R, Y, C = rng.random((9, 7)) < 0.5, rng.standard_normal((9, 7)), rng.uniform(0.2, 4, (9, 7))
    problem = Problem(R, Y, C, 0.5, equal, equal)
    given_csr = problem.csr(torch.float64, by_item=True)
    kernels = matrix_of(name, problem.csr(torch.float64, by_item=False), 7, torch.float64).by_item
    indptr, indices, values = kernels.csr
    weights, unknown_weight = kernels.weights
    assert indptr.tolist() == given_csr.indptr.tolist()
    assert indices.tolist() == given_csr.indices.tolist()
    assert values.tolist() == ([1.0] * int(R.sum()) if equal else Y.T[R.T].tolist())
    assert unknown_weight == 0.5
    if equal:
        assert weights == 1.0
    else:
        assert isinstance(weights, Tensor)
        assert weights.tolist() == C.T[R.T].tolist()


@pytest.mark.parametrize("name", BACK_ENDS)
def test_a_weight_of_two_is_the_rating_twice(name: str) -> None:
    rng = np.random.default_rng(1)
    R, Y = rng.random((9, 7)) < 0.5, rng.standard_normal((9, 7))
    C = rng.integers(1, 4, R.shape).astype(np.float64)
    users, items = sides_of(random_factors(7, 9, 5, item_bias=True))
    csr = Problem(R, Y, C, 0.0, False, False).csr(torch.float64, by_item=False)
    copies = C[R].astype(int)
    repeated = Csr(
        np.append(0, np.cumsum((C * R).sum(1).astype(int))),
        np.repeat(csr.indices, copies),
        np.repeat(Y[R], copies),
    )
    once, often = (matrix_of(name, given, 7, torch.float64).by_user for given in (csr, repeated))
    for got, want in zip(
        (*once.error_gradients(users, items), *once.normal_products(users, items), once.curvature),
        (*often.error_gradients(users, items), *often.normal_products(users, items), often.counts),
        strict=True,
    ):
        close(got, want, 1e-13)
