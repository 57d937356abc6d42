"""What every back end does with weights and with the unknown pairs: the formulas of `kernels/base.py`."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.sides import sides_of
from cofi_dist.kernels.base import NUMPY_TYPE, Csr, RatingKernels, Side, WeightedCsr
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from tests.support.problems import close, random_factors
from tests.support.triton_interpreter import INTERPRETED, interpreted, needs_triton, triton_backend

CPU = torch.device("cpu")
BACK_ENDS = ["torch", pytest.param("triton", marks=needs_triton)]
NUMBERS = st.floats(0.1, 5.0, width=32)


@pytest.fixture(autouse=True, scope="module")
def _interpreted() -> Iterator[None]:
    with interpreted(piece=3) if INTERPRETED else nullcontext():
        yield


@dataclass(frozen=True)
class Problem:
    """Known pairs, users by items: R says which, Y their targets and C their weights, (U, M) each."""

    R: NDArray[np.bool_]
    Y: NDArray[np.float64]
    C: NDArray[np.float64]
    unknown_weight: float
    values_are_one: bool
    weights_are_one: bool

    def csr(self, dtype: torch.dtype, *, by_item: bool) -> WeightedCsr:
        """Return the ratings of each row; equal values and weights as a number."""
        R, Y, C = (A.T if by_item else A for A in (self.R, self.Y, self.C))
        numbers = NUMPY_TYPE[dtype]
        return WeightedCsr(
            np.append(0, R.sum(1).cumsum()),
            np.nonzero(R)[1].astype(np.int32),
            numbers(1) if self.values_are_one else Y[R].astype(numbers),
            numbers(1) if self.weights_are_one else C[R].astype(numbers),
            numbers(self.unknown_weight),
        )


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Draw a problem, in which users and items may be without ratings."""
    shape = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values_are_one, weights_are_one = draw(st.booleans()), draw(st.booleans())
    return Problem(
        rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0])),
        np.ones(shape) if values_are_one else rng.standard_normal(shape),
        np.ones(shape) if weights_are_one else rng.uniform(0.2, 4, shape),
        # 9 is more than all weights, so that all d_n are below 0
        draw(st.sampled_from([0.0, 0.125, 1.0, 9.0])),
        values_are_one,
        weights_are_one,
    )


def kernels_of(name: str, csr: Csr | WeightedCsr) -> RatingKernels:
    return (TorchKernels if name == "torch" else triton_backend())(csr, CPU)


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
@settings(max_examples=50)
@given(st.data())
def test_weighted_sums_over_rows_match_the_formula(name: str, data: st.DataObject) -> None:
    problem = data.draw(problems())
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    num_users, num_items = problem.R.shape
    K = data.draw(st.sampled_from([1, 5, 17]))
    users, items = sides_of(random_factors(num_items, num_users, K, dtype, item_bias=True))
    for by_item, solved, fixed in ((False, users, items), (True, items, users)):
        kernels = kernels_of(name, problem.csr(dtype, by_item=by_item))
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
    plain = kernels_of(name, Csr(csr.indptr, csr.indices, Y[R]))
    assert plain.weights == (1.0, 0.0)
    for weights in (np.float64(1), np.ones(len(csr.indices))):
        weighted = kernels_of(name, csr._replace(weights=weights))
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
    kernels = kernels_of(name, given_csr)
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
    once, often = kernels_of(name, csr), kernels_of(name, repeated)
    for got, want in zip(
        (*once.error_gradients(users, items), *once.normal_products(users, items), once.curvature),
        (*often.error_gradients(users, items), *often.normal_products(users, items), often.counts),
        strict=True,
    ):
        close(got, want, 1e-13)
