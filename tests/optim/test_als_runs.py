"""Whole runs by ALS: on any ranks, resumed, and to where it converges."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from cofi_dist.config import load_config
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CheckpointError, ConfigError
from cofi_dist.model import Model
from cofi_dist.run.train import train
from tests.support.problems import close
from tests.support.runs import metrics, run, tensors
from tests.support.training_runs import train_on

CONFIG = """
data: {synthetic: {num_users: 90, num_items: 70, num_ratings: 2500}, validation: {}}
model: {num_features: 9, item_bias: true}
train: {optimizer: als, epochs: 40, log_every: 5, dtype: float64, lambda_power: 0.4, lambda_b: 0.5}
validation: {every: 10}
"""


@pytest.mark.parametrize(
    ("dtype", "solver", "rtol"),
    [("float64", "cg", 1e-10), ("float32", "cg", 1e-4), ("float64", "exact", 1e-10)],
)
def test_any_number_of_ranks_gives_the_same(dtype: str, solver: str, rtol: float, tmp_path: Path) -> None:
    given = [f"train.dtype={dtype}", f"train.solver={solver}"]
    one = train_on(1, CONFIG, given, tmp_path)
    for ranks in (2, 3, 5):
        many = train_on(ranks, CONFIG, given, tmp_path)
        assert many.costs.keys() == one.costs.keys()
        for epoch, cost in one.costs.items():
            assert many.costs[epoch] == pytest.approx(cost, rel=rtol), epoch
        if dtype == "float64":
            close(many.model.factors.X, one.model.factors.X, 1e-8)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_that_was_broken_off_goes_on_bit_for_bit(ranks: int, tmp_path: Path) -> None:
    als = ["train.optimizer=als", "train.lambda_=0.5"]
    whole, broken = run(tmp_path, ranks, 40, "whole", *als), run(tmp_path, ranks, 20, "run", *als)
    run(tmp_path, ranks, 40, "run", *als)
    assert metrics(broken) == metrics(whole)
    got, want = tensors(broken), tensors(whole)
    assert got.keys() == want.keys()
    assert "X.previous" in want
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_it_stops_where_the_cost_falls_no_more(tmp_path: Path) -> None:
    still, stopped = (
        train_on(1, CONFIG, ["train.epochs=1500", "validation.every=null", *more], tmp_path)
        for more in ([], ["train.tolerance=1.0e-7"])
    )
    assert max(stopped.costs) < 300
    assert stopped.costs[max(stopped.costs)] == pytest.approx(still.costs[1500], rel=1e-4)
    assert stopped.costs[20] > still.costs[1500] * (1 + 1e-4), "it could have stopped too early"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.cost=dense"], "optimizer: als works on the known cells"),
        (["train.optimizer=adam", "train.tolerance=0.1"], "tolerance: adam does not look at J"),
        (["train={optimizer: adam, solver: exact}"], "solver: adam solves nothing"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "c.yaml", overrides)


@pytest.mark.data
@pytest.mark.timeout(300)
def test_users_of_movielens_are_folded_in_as_they_were_trained(movielens: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"data: {{ratings: {movielens}}}\n")
    overrides = ["train.optimizer=als", "train.epochs=4000", "train.tolerance=1.0e-9", "train.dtype=float64"]
    given = [*overrides, "model.num_features=20", "train.lambda_=5", f"run_dir={tmp_path / 'run'}"]
    train(tmp_path / "c.yaml", given, SoloComm(), quiet=True)
    model, rated = Model.load(tmp_path / "run"), pl.read_csv(movielens)
    worst: list[Tensor] = []
    for user in range(1, 611, 10):
        mine = rated.filter(pl.col("userId") == user)
        folded = model.fold_in(mine["movieId"].to_list(), mine["rating"].to_numpy())
        (row,) = model.users.find(pl.Series([user]))
        worst.append(np.abs(folded.w - model.arrays.W[row]).max())
    assert max(worst) < 1e-4


def test_a_converged_run_is_over_also_where_it_is_gone_on_with(tmp_path: Path) -> None:
    given = ["train.optimizer=als", "train.tolerance=0.001", "checkpoint.every=1", "validation.every=null"]
    run_dir = run(tmp_path, 1, 500, "run", *given)
    (epoch,) = {json.loads((run_dir / "result.json").read_text())["epoch"]}
    assert epoch < 100
    before = tensors(run_dir)
    (run_dir / "result.json").unlink()  # killed just before it was written
    run(tmp_path, 1, 500, "run", *given)
    assert json.loads((run_dir / "result.json").read_text())["epoch"] == epoch
    assert all(torch.equal(before[name], now) for name, now in tensors(run_dir).items())
    few = run(tmp_path, 1, 2, "few", *given)
    assert "not converged in 2 epochs: J still changes by more than 0.001" in (few / "train.log").read_text()
    result = json.loads((few / "result.json").read_text())
    assert (result["epoch"], result["steps"]) == (2, 2), "no third epoch of two"
    closer = [text.replace("0.001", "1.0e-6") for text in given]
    run(tmp_path, 1, 500, "run", *closer)
    assert json.loads((run_dir / "result.json").read_text())["epoch"] > epoch, "a lower one goes on"


@pytest.mark.parametrize(("first", "then"), [("als", "adam"), ("adam", "als")])
def test_the_optimizer_cannot_change_on_the_way(first: str, then: str, tmp_path: Path) -> None:
    run(tmp_path, 1, 20, "run", f"train.optimizer={first}")
    with pytest.raises(CheckpointError, match=f"is not of {then}; train.optimizer cannot change"):
        run(tmp_path, 1, 40, "run", f"train.optimizer={then}", "checkpoint.allow_changes=true")


@pytest.mark.parametrize(("before", "after"), [(1, 2), (3, 2), (2, 5)])
def test_it_goes_on_on_any_number_of_ranks(before: int, after: int, tmp_path: Path) -> None:
    als = ["train.optimizer=als", "train.lambda_=0.5"]
    whole = run(tmp_path, 1, 30, "whole", *als)
    run(tmp_path, before, 20, "run", *als)
    got = metrics(run(tmp_path, after, 30, "run", *als))
    for line, want in zip(got, metrics(whole), strict=True):
        assert line == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_of_exact_solves_goes_on_bit_for_bit(ranks: int, tmp_path: Path) -> None:
    als = ["train.optimizer=als", "train.solver=exact", "train.lambda_=0.5"]
    whole, broken = run(tmp_path, ranks, 20, "whole", *als), run(tmp_path, ranks, 10, "run", *als)
    run(tmp_path, ranks, 20, "run", *als)
    assert metrics(broken) == metrics(whole)
    got, want = tensors(broken), tensors(whole)
    assert all(torch.equal(got[name], want[name]) for name in want)
