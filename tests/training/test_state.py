"""The state of a run: its tensors by name, its scalars, and whether it is finite."""

import json
import math

import pytest
import torch

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.optim.adam import Adam
from cofi_dist.training.best_factors import BestFactors
from cofi_dist.training.metrics import Accuracy, Criterion
from cofi_dist.training.state import ITEM_FACTORS, USER_FACTORS, State
from tests.support.als_problems import als_on, drive
from tests.support.problems import random_factors, random_ratings
from tests.support.trainers import make_cost


def state_of(optimizer: str = "adam", *, item_bias: bool = True, criterion: Criterion | None = None) -> State:
    """Of 6 users and 8 items, before the first step."""
    factors = random_factors(8, 6, 3, item_bias=item_bias)
    if optimizer == "als":
        return State(factors, als_on(random_ratings(6, 8, 20), factors), BestFactors(factors))
    adam = Adam(make_cost(), factors, Regulariser(1.0), lr=0.01, fused=True)
    return State(factors, adam, BestFactors(factors, criterion))


def test_tensors_have_a_row_for_each_user_or_item() -> None:
    state = state_of()
    shapes = {name: tuple(t.shape) for name, t in state.row_tensors(USER_FACTORS).items()}
    assert shapes == {
        **dict.fromkeys(("W", "W.mean", "W.square"), (6, 3)),
        **dict.fromkeys(("b", "b.mean", "b.square"), (6,)),
    }
    assert set(state.row_tensors(ITEM_FACTORS)) == {
        *("X", "X.mean", "X.square"),
        *("c", "c.mean", "c.square"),
    }
    assert set(state_of("als", item_bias=False).row_tensors(ITEM_FACTORS)) == {"X", "X.previous"}


def test_tensors_are_views_and_the_best_are_among_them_once_measured() -> None:
    state = state_of()
    state.row_tensors(USER_FACTORS)["b"].fill_(7.0)
    assert torch.equal(state.factors.b, torch.full_like(state.factors.b, 7.0))
    state.best.update(1, None)
    assert "W.best" not in state.row_tensors(USER_FACTORS), "kept, but not measured"
    state.best.update(2, Accuracy({"rmse": 0.9, "mae": 0.7}))
    assert state.row_tensors(USER_FACTORS)["b.best"].shape == (6,)


@pytest.mark.parametrize("optimizer", ["adam", "als"])
def test_scalars_come_back_from_json(optimizer: str) -> None:
    state = state_of(optimizer)
    if optimizer == "als":
        drive(state.optimizer)  # type: ignore[arg-type]
    state.epoch, state.seconds = 3, 0.1
    state.best.update(2, Accuracy({"rmse": 0.9, "mae": 0.7}))
    state.best.update(3, Accuracy({"rmse": 0.95, "mae": 0.7}))
    scalars = json.loads(json.dumps(state.scalars))
    restored = state_of(optimizer)
    restored.restore_scalars(scalars)
    assert restored.scalars == scalars
    assert (restored.best.epoch, restored.best.validations_since_best) == (2, 1)
    assert restored.row_tensors(USER_FACTORS).keys() == state.row_tensors(USER_FACTORS).keys()


def test_the_best_lists_come_back_and_are_forgotten_by_another_criterion() -> None:
    criterion = Criterion("ndcg", 10, 500)
    state = state_of(criterion=criterion)
    state.best.update(2, Accuracy({"ndcg": 0.3}, criterion))
    scalars = json.loads(json.dumps(state.scalars))
    restored, other = state_of(criterion=criterion), state_of(criterion=Criterion("ndcg", 20, 500))
    restored.restore_scalars(scalars)
    assert restored.best.accuracy == state.best.accuracy
    other.restore_scalars(scalars)
    assert (other.best.epoch, other.best.accuracy) == (None, None)
    assert "W.best" not in other.row_tensors(USER_FACTORS)


def test_the_best_is_kept_if_nothing_is_measured_any_more() -> None:
    criterion = Criterion("ndcg", 10)
    state, unmeasured, again = state_of(criterion=criterion), state_of(), state_of(criterion=criterion)
    state.best.update(2, Accuracy({"ndcg": 0.3}, criterion))
    unmeasured.restore_scalars(state.scalars)
    assert not unmeasured.best.update(3, None)
    assert "W.best" in unmeasured.row_tensors(USER_FACTORS)
    again.restore_scalars(unmeasured.scalars)
    assert (again.best.epoch, again.best.accuracy) == (2, state.best.accuracy)


def test_a_record_of_an_earlier_version_is_one_of_rmse() -> None:
    state = state_of()
    scalars = state.scalars | {"best": {"epoch": 2, "stale": 1, "rmse": 0.9, "mae": 0.7}}
    state.restore_scalars(scalars)
    assert state.best.accuracy == Accuracy({"rmse": 0.9, "mae": 0.7})
    assert state.scalars == scalars


def test_a_moment_that_is_not_finite_spoils_the_state_and_not_the_factors() -> None:
    state = state_of()
    assert state.is_finite
    assert state.has_finite_factors
    state.row_tensors(USER_FACTORS)["W.square"][0, 0] = math.inf
    assert state.has_finite_factors
    assert not state.is_finite
    state.factors.X[0, 0] = math.nan
    assert not state.has_finite_factors


def test_numbers_whose_sum_overflows_are_finite() -> None:
    state = state_of()
    state.factors.X.fill_(torch.finfo(torch.float64).max)
    assert state.has_finite_factors
