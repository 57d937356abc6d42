"""The contract of all optimisers: a step that is prepared moves nothing until it is run."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.base import Optimizer, PendingSum, Step, run_step
from tests.support.als_problems import als_on, cost_of
from tests.support.problems import random_factors, random_ratings
from tests.support.trainers import make_cost

RATINGS = random_ratings(6, 8, 20)
REGULARISER = Regulariser(0.7, 0.2)


@pytest.fixture(params=["adam", "als"])
def optimizer(request: pytest.FixtureRequest) -> tuple[Optimizer, Factors]:
    factors = random_factors(8, 6, 3, item_bias=True)
    if request.param == "als":
        return als_on(RATINGS, factors, REGULARISER), factors
    return Adam(make_cost(), factors, REGULARISER, lr=0.01, fused=True), factors


def copies(factors: Factors) -> list[Tensor]:
    return [factor.clone() for factor in factors.tensors]


def test_a_step_moves_nothing_until_it_is_run(optimizer: tuple[Optimizer, Factors]) -> None:
    moves, factors = optimizer
    before = copies(factors)
    moves.prepare_step()
    step = moves.prepare_step(with_cost=True)
    assert all(torch.equal(a, b) for a, b in zip(factors.tensors, before, strict=True))
    run_step(step, SoloComm())
    assert not any(torch.equal(a, b) for a, b in zip(factors.tensors, before, strict=True))


def test_the_cost_is_told_only_if_asked_for_and_is_the_formulas(optimizer: tuple[Optimizer, Factors]) -> None:
    moves, factors = optimizer
    assert moves.prepare_step().half_squared_error is None
    half = moves.prepare_step(with_cost=True).half_squared_error
    assert half is not None
    assert half.shape == (1,)
    J = moves.objective.value(
        half[0], moves.objective.user_squares(factors), moves.objective.item_squares(factors)
    )
    assert float(J) == pytest.approx(cost_of(factors, RATINGS, REGULARISER), rel=1e-12)


def test_sums_are_made_in_turn_and_overlapped_work_is_done_once() -> None:
    done: list[str] = []

    def moves() -> Iterator[PendingSum]:
        first, second = torch.ones(1), torch.ones(1)
        yield PendingSum(first, overlap=lambda: done.append("work"))
        done.append(f"first is {first.item():g}")
        yield PendingSum(second)
        done.append(f"second is {second.item():g}")

    class Doubling(SoloComm):
        def all_reduce_(self, *partials: Tensor, overlap: Callable[[], None] | None = None) -> None:
            assert overlap is not None
            overlap()
            for partial in partials:
                partial.mul_(2)

    run_step(Step(None, moves()), Doubling())
    assert done == ["work", "first is 2", "second is 2"]
