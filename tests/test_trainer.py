"""The loop: what it reports, and when it stops."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cofi_dist.config import Train
from cofi_dist.cost.kernels import pair_dot
from cofi_dist.cost.sparse import SparseCost
from cofi_dist.data.shards import UserRange, UserShard
from cofi_dist.distributed import Comm, SoloComm
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.testing import run_ranks
from cofi_dist.trainer import Printed, Trainer
from tests.problems import random_factors, random_ratings


class Recorder:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.initial_cost = math.nan
        self.steps: list[int] = []
        self.metrics: list[Printed] = []

    def initial(self, cost: float) -> None:
        self.initial_cost = cost

    def step(self, epoch: int) -> None:
        self.steps.append(epoch)

    def printed(self, metrics: Printed) -> None:
        self.metrics.append(metrics)


def make_cost() -> SparseCost:
    shard = UserShard(UserRange(0, 6), 8, random_ratings(6, 8, 20))
    return SparseCost(shard, torch.device("cpu"), torch.float64, pair_dot)


def train(settings: Train, factors: Factors) -> Recorder:
    heard = Recorder()
    Trainer(make_cost(), factors, settings, 20, SoloComm()).run(heard)
    return heard


def test_prints_epoch_1_and_every_nth() -> None:
    heard = train(Train(epochs=25, log_every=10, lr=0.01), random_factors(8, 6, 3))
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
    assert train(Train(epochs=1, lambda_=3.0), factors).initial_cost == pytest.approx(want, rel=1e-12)


def test_one_step_is_adams_along_the_whole_gradient() -> None:
    factors = random_factors(8, 6, 3)
    term = make_cost()(factors, with_value=False)
    gradients = (term.dX + 0.5 * factors.X, term.dW + 0.5 * factors.W, term.db)
    # the first step of Adam moves every entry by lr against the gradient's sign
    want = [t - 0.01 * g.sign() for t, g in zip((factors.X, factors.W, factors.b), gradients, strict=True)]
    train(Train(epochs=1, lambda_=0.5, lr=0.01), factors)
    for got, expected in zip((factors.X, factors.W, factors.b), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def test_a_cost_that_is_not_finite_stops_the_run_and_names_the_epoch() -> None:
    factors = random_factors(8, 6, 3)
    factors.X[0, 0] = math.inf
    with pytest.raises(RunError, match=r"epoch 1: the cost is (nan|inf); try a lower train\.lr"):
        train(Train(epochs=3), factors)


def _drift(comm: Comm) -> str:
    class LossyComm(type(comm)):  # type: ignore[misc]
        def sum_(self, *tensors: Tensor) -> None:
            super().sum_(*tensors)
            if self.rank == 1 and tensors[0].ndim == 2:
                tensors[0][0, 0] += 1e-3

    comm.__class__ = LossyComm
    heard = Recorder()
    try:
        Trainer(make_cost(), random_factors(8, 6, 3), Train(epochs=9, log_every=3), 20, comm).run(heard)
    except RunError as error:
        return f"{[m.epoch for m in heard.metrics]} {error}"
    return "finished"


def test_drift_of_the_replicas_of_x_is_an_error(tmp_path: Path) -> None:
    for said in run_ranks(2, _drift, tmp=tmp_path):
        assert said.startswith("[1] X differs between ranks")


def test_metrics_have_the_fields_of_metrics_jsonl() -> None:
    assert [f.name for f in dataclasses.fields(Printed)] == ["epoch", "cost", "seconds", "ratings_per_second"]
