"""The loop: what it reports, and when it stops."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cofi_dist.config import TrainSection
from cofi_dist.cost import Cost, ErrorTerm
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.term import RowSums
from cofi_dist.distributed.comm import Comm, Reducer
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks
from cofi_dist.training.metrics import Criterion
from cofi_dist.training.trainer import DivergedError
from cofi_dist.training.validation import Validation
from tests.support.problems import (
    close,
    gradients_of,
    random_factors,
    random_ratings,
    shard_of,
    slice_factors,
    sparse_cost,
)
from tests.support.trainers import Recorder, make_cost, make_trainer


class SpoiledCost:
    """A cost whose gradient of X has a NaN in the epochs from `first`, which are counted from 0."""

    def __init__(self, first: int) -> None:
        self._cost, self._first, self._calls = make_cost(), first, -1

    def __call__(self, factors: Factors, *, with_cost: bool) -> ErrorTerm:
        error = self._cost(factors, with_cost=with_cost)
        if self._calls >= self._first:
            error.dX[0, 0, 0] = math.nan
        self._calls += 1
        return error

    @property
    def sums(self) -> RowSums:
        return self._cost.sums


class Scripted(Validation):
    """Measures what it was told to, one after the other."""

    def __init__(
        self,
        *figures: float,
        criterion: Criterion | None = None,
        every: int = 5,
        patience: int | None = None,
    ) -> None:
        self._figures = iter(figures)
        super().__init__(self, criterion, every=every, patience=patience)

    def measure(self, factors: Factors, reducer: Reducer) -> dict[str, float]:
        figures = {"rmse": next(self._figures), "mae": 0.5}
        return figures if self.criterion == Criterion() else {self.criterion.metric: figures["rmse"]}


def train(
    settings: TrainSection, factors: Factors, validation: Validation | None = None, cost: Cost | None = None
) -> Recorder:
    heard = Recorder()
    make_trainer(cost or make_cost(), factors, settings, validation=validation).run(heard)
    return heard


def after(steps: int) -> Factors:
    """The factors after so many steps of an undisturbed run."""
    factors = random_factors(8, 6, 3)
    if steps:
        train(TrainSection(epochs=steps, lr=0.01), factors)
    return factors


def assert_equal(got: Factors, want: Factors) -> None:
    for ours, theirs in zip(got.tensors, want.tensors, strict=True):
        assert torch.equal(ours, theirs)


def test_prints_epoch_1_and_every_nth() -> None:
    heard = train(TrainSection(epochs=25, log_every=10, lr=0.01), random_factors(8, 6, 3))
    assert [m.epoch for m in heard.metrics] == [1, 10, 20]
    assert heard.steps == list(range(1, 26))
    assert heard.initial_cost == heard.metrics[0].cost
    assert heard.metrics[-1].cost < heard.metrics[0].cost
    for m in heard.metrics:
        assert m.seconds > 0
        assert m.ratings_per_second == pytest.approx(20 * m.epoch / m.seconds)


def test_the_cost_is_the_formula() -> None:
    factors = random_factors(8, 6, 3)
    ratings = random_ratings(6, 8, 20)
    err = (factors.X[ratings.item] * factors.W[ratings.user]).sum(1) + factors.b[0, ratings.user]
    half = float((err - torch.from_numpy(ratings.value)).square().sum()) / 2
    want = half + 3.0 / 2 * float(factors.X.square().sum() + factors.W.square().sum())
    assert train(TrainSection(epochs=1, lambda_=3.0), factors).initial_cost == pytest.approx(want, rel=1e-12)


def test_one_step_is_adams_along_the_whole_gradient() -> None:
    factors = random_factors(8, 6, 3)
    term = make_cost()(factors, with_cost=False)
    gradients = (term.dX[0] + 0.5 * factors.X, term.dW + 0.5 * factors.W, term.db)
    # the first step of Adam moves every entry by lr against the gradient's sign
    want = [t - 0.01 * g.sign() for t, g in zip((factors.X, factors.W, factors.b), gradients, strict=True)]
    train(TrainSection(epochs=1, lambda_=0.5, lr=0.01), factors)
    for got, expected in zip((factors.X, factors.W, factors.b), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("counted", [False, True])
def test_one_step_is_adams_along_the_gradient_of_every_switch(kind: str, counted: bool) -> None:
    factors = random_factors(8, 6, 3, item_bias=True)
    scales = (torch.arange(8.0)[:, None].double(), torch.arange(6.0)[:, None].double())
    regulariser = Regulariser(0.5, 0.3, *(scales if counted else (None, None)))
    error = make_cost(kind)(factors, with_cost=False)
    gradients = list(gradients_of(error, regulariser, factors).values())
    want = [t - 0.01 * g.sign() for t, g in zip(factors.tensors, gradients, strict=True)]
    settings = TrainSection(epochs=1, lr=0.01, cost="sparse" if kind == "sparse" else "dense")
    make_trainer(make_cost(kind), factors, settings, regulariser=regulariser).run(Recorder())
    for got, expected in zip(factors.tensors, want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_weight_decay_is_the_regulariser_added_by_hand() -> None:
    runs = []
    ones = torch.ones(8, 1, dtype=torch.float64), torch.ones(6, 1, dtype=torch.float64)
    for scales in ((None, None), ones):
        factors, heard = random_factors(8, 6, 3, item_bias=True), Recorder()
        regulariser = Regulariser(0.5, 0.3, *scales)
        make_trainer(make_cost(), factors, TrainSection(epochs=50, lr=0.01), regulariser=regulariser).run(
            heard
        )
        runs.append(factors)
    for decayed, added in zip(*(factors.tensors for factors in runs), strict=True):
        close(decayed, added, 1e-12)


def test_a_start_that_is_not_finite_stops_the_run_and_keeps_nothing() -> None:
    factors = random_factors(8, 6, 3)
    factors.X[0, 0] = math.inf
    with pytest.raises(DivergedError, match=r"^epoch 1: the cost is (nan|inf)$") as error:
        train(TrainSection(epochs=3), factors)
    assert error.value.kept is None


@pytest.mark.parametrize(
    ("spoiled", "epochs", "said", "kept"),
    [
        (20, 50, "epoch 30: the cost is nan", 20),  # printed at 30 only; the step of 21 did it
        (29, 50, "epoch 40: the cost is nan", 30),
        (29, 30, "epoch 30: the factors are no longer finite", 30),  # by the very last step
        (29, 35, "epoch 35: the factors are no longer finite", 30),
    ],
)
def test_a_run_that_turns_nan_ends_with_the_last_good_factors(
    spoiled: int, epochs: int, said: str, kept: int
) -> None:
    factors = random_factors(8, 6, 3)
    with pytest.raises(DivergedError, match=f"^{said}$") as error:
        train(TrainSection(epochs=epochs, log_every=10, lr=0.01), factors, cost=SpoiledCost(spoiled))
    assert error.value.kept == kept
    assert_equal(factors, after(kept - 1))


def test_with_validation_a_run_that_turns_nan_ends_with_the_best_factors() -> None:
    factors = random_factors(8, 6, 3)
    with pytest.raises(DivergedError, match="epoch 15: the cost is nan") as error:
        train(TrainSection(epochs=50, log_every=1, lr=0.01), factors, Scripted(0.8, 0.9), SpoiledCost(13))
    assert error.value.kept == 5
    assert_equal(factors, after(4))


def test_the_best_epochs_factors_are_restored() -> None:
    factors = random_factors(8, 6, 3)
    heard = train(TrainSection(epochs=17, log_every=10, lr=0.01), factors, Scripted(0.9, 0.8, 0.8, 0.85))
    assert [m.epoch for m in heard.metrics] == [1, 5, 10, 15]
    assert [m.accuracy and m.accuracy.deciding for m in heard.metrics] == [None, 0.9, 0.8, 0.8]
    assert heard.notes == [
        "after the last step: validation RMSE 0.8500, MAE 0.5000",
        "restored the factors of epoch 10: validation RMSE 0.8000, MAE 0.5000",
    ]
    assert_equal(factors, after(9))


def test_a_run_that_improves_to_the_end_keeps_its_last_step() -> None:
    factors = random_factors(8, 6, 3)
    heard = train(TrainSection(epochs=10, lr=0.01), factors, Scripted(0.9, 0.8, 0.7))
    assert heard.notes == ["after the last step: validation RMSE 0.7000, MAE 0.5000"]
    assert_equal(factors, after(10))


def test_patience_counts_validations_without_a_lower_rmse() -> None:
    factors = random_factors(8, 6, 3)
    script = Scripted(0.9, 0.95, 0.8, 0.8, 0.81, patience=2)
    heard = train(TrainSection(epochs=500, lr=0.01), factors, script)
    assert heard.metrics[-1].epoch == 25
    assert heard.steps[-1] == 24
    assert heard.notes == [
        "stopped at epoch 25: 2 validations without a lower RMSE than epoch 15's 0.8000",
        "restored the factors of epoch 15: validation RMSE 0.8000, MAE 0.5000",
    ]
    assert_equal(factors, after(14))


def test_patience_and_the_best_follow_the_lists_figure() -> None:
    factors = random_factors(8, 6, 3)
    script = Scripted(0.1, 0.05, 0.3, 0.3, 0.29, criterion=Criterion("ndcg", 10), patience=2)
    heard = train(TrainSection(epochs=500, lr=0.01), factors, script)
    assert heard.notes == [
        "stopped at epoch 25: 2 validations without a higher NDCG@10 than epoch 15's 0.3000",
        "restored the factors of epoch 15: validation NDCG@10 0.3000",
    ]
    assert_equal(factors, after(14))


def _turn_nan_on_one_rank(comm: Comm) -> tuple[str, int | None, bool, Factors]:
    users = UserRange(0, 4) if comm.rank == 0 else UserRange(4, 6)
    cost = sparse_cost(shard_of(random_ratings(6, 8, 20), users, 8))
    factors = slice_factors(random_factors(8, 6, 3), users)

    def spoiled(factors: Factors, *, with_cost: bool) -> ErrorTerm:
        error = cost(factors, with_cost=with_cost)
        if comm.rank == 1 and with_cost is False:
            error.dW[0, 0] = math.nan
        return error

    spoiled.sums = cost.sums  # type: ignore[attr-defined]
    trainer = make_trainer(spoiled, factors, TrainSection(epochs=3, lr=0.01), comm)  # type: ignore[arg-type]
    try:
        trainer.run(Recorder())
    except DivergedError as error:
        return str(error), error.kept, error.shared, factors
    raise AssertionError("not noticed")


def test_all_ranks_agree_that_one_has_turned_nan(tmp_path: Path) -> None:
    start = random_factors(8, 6, 3)
    told = run_ranks(2, _turn_nan_on_one_rank, tmp=tmp_path)
    for (said, kept, shared, factors), users in zip(told, (UserRange(0, 4), UserRange(4, 6)), strict=True):
        assert (said, kept, shared) == ("epoch 3: the factors are no longer finite", 1, True)
        assert_equal(factors, slice_factors(start, users))


def _drift(comm: Comm) -> str:
    class LossyComm(type(comm)):  # type: ignore[misc]
        def all_reduce_(self, *tensors: Tensor, overlap: Callable[[], None] | None = None) -> None:
            super().all_reduce_(*tensors, overlap=overlap)
            if self.rank == 1 and tensors[0].ndim == 3:
                tensors[0][0, 0, 0] += 1e-3

    comm.__class__ = LossyComm
    heard = Recorder()
    try:
        make_trainer(make_cost(), random_factors(8, 6, 3), TrainSection(epochs=9, log_every=3), comm).run(
            heard
        )
    except RunError as error:
        return f"{[m.epoch for m in heard.metrics]} {error}"
    return "finished"


def test_drift_of_the_replicas_of_x_is_an_error(tmp_path: Path) -> None:
    for said in run_ranks(2, _drift, tmp=tmp_path):
        assert said.startswith("[1] X differs between ranks")
