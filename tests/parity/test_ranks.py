"""1, 2, 3 and 5 ranks compute the same costs and factors, dense and sparse."""

from pathlib import Path

import pytest

from tests.support.problems import close
from tests.support.training_runs import Trained, train_on

SYNTHETIC = "data: {synthetic: {num_users: 90, num_items: 700, num_ratings: 5000}}\n"
SETTINGS = ["model.num_features=20", "train.lr=1.0e-3", "train.log_every=20"]
EPOCHS = "train.epochs=200"
SWITCHES = ["model.item_bias=true", "train.lambda_b=0.5", "train.lambda_=0.1"]


def assert_same(got: Trained, want: Trained, rtol: float, *, factors: bool) -> None:
    assert got.costs.keys() == want.costs.keys()
    for epoch, cost in want.costs.items():
        assert got.costs[epoch] == pytest.approx(cost, rel=rtol), epoch
    if factors:
        pairs = zip(got.model.factors.tensors, want.model.factors.tensors, strict=True)
        for ours, theirs in pairs:
            close(ours, theirs, rtol)


@pytest.mark.parametrize("cost", ["dense", "sparse"])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-5)])
def test_any_world_size_gives_the_same_run(cost: str, dtype: str, rtol: float, tmp_path: Path) -> None:
    overrides = [*SETTINGS, EPOCHS, f"train.cost={cost}", f"train.dtype={dtype}"]
    one = train_on(1, SYNTHETIC, overrides, tmp_path)
    for world_size in (2, 3, 5):
        many = train_on(world_size, SYNTHETIC, overrides, tmp_path)
        assert_same(many, one, rtol, factors=dtype == "float64")


@pytest.mark.parametrize("cost", ["dense", "sparse"])
@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_any_world_size_gives_the_same_run_with_every_switch(cost: str, power: float, tmp_path: Path) -> None:
    switches = [*SWITCHES, f"train.lambda_power={power}"]
    overrides = [*SETTINGS, *switches, "train.epochs=60", f"train.cost={cost}", "train.dtype=float64"]
    one = train_on(1, SYNTHETIC, overrides, tmp_path)
    assert one.model.factors.c is not None
    assert float(one.model.factors.c.abs().max()) > 0
    for world_size in (2, 3):
        assert_same(train_on(world_size, SYNTHETIC, overrides, tmp_path), one, 1e-10, factors=True)


@pytest.mark.parametrize("switches", [[], [*SWITCHES, "train.lambda_power=1"]], ids=["plain", "switches"])
def test_dense_and_sparse_are_one_cost(switches: list[str], tmp_path: Path) -> None:
    overrides = [*SETTINGS, EPOCHS, *switches, "train.dtype=float64"]
    runs = [
        train_on(1, SYNTHETIC, [*overrides, f"train.cost={cost}"], tmp_path) for cost in ("dense", "sparse")
    ]
    assert_same(runs[1], runs[0], 1e-10, factors=True)


@pytest.mark.data
@pytest.mark.timeout(300)
def test_movielens_sparse(movielens: Path, tmp_path: Path) -> None:
    config = f"data: {{ratings: {movielens}}}\n"
    overrides = ["train.dtype=float64", "train.epochs=100", "train.log_every=20"]
    one = train_on(1, config, overrides, tmp_path)
    for world_size in (2, 3, 5):
        assert_same(train_on(world_size, config, overrides, tmp_path), one, 1e-10, factors=True)


@pytest.mark.parametrize("cost", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("num_users", "num_items", "num_ratings"),
    [(2, 9, 8), (1, 5, 3), (4, 1, 4)],
    ids=["two users", "one user", "one item"],
)
def test_more_ranks_than_users(
    cost: str, num_users: int, num_items: int, num_ratings: int, tmp_path: Path
) -> None:
    shape = f"{{num_users: {num_users}, num_items: {num_items}, num_ratings: {num_ratings}}}"
    config = f"data: {{synthetic: {shape}}}\nmodel: {{num_features: 3}}\n"
    overrides = ["train.dtype=float64", "train.epochs=30", "train.log_every=10", f"train.cost={cost}"]
    one = train_on(1, config, overrides, tmp_path)
    assert_same(train_on(5, config, overrides, tmp_path), one, 1e-10, factors=True)
