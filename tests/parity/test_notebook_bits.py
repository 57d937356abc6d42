"""One process with `cost: dense` is the notebook, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cofi_dist.config import load_config
from tests.support.notebook import NotebookRun, run_notebook
from tests.support.training_runs import Trained, notebook_arrays, train_on

CONFIG = Path(__file__).parents[2] / "configs" / "notebook.yaml"


def save_arrays(Y: Tensor, R: Tensor, tmp: Path) -> list[str]:
    np.save(tmp / "Y.npy", Y.numpy())
    np.save(tmp / "R.npy", R.numpy())
    return [f"data.y={tmp / 'Y.npy'}", f"data.r={tmp / 'R.npy'}"]


def assert_same_bits(ours: Trained, notebook: NotebookRun) -> None:
    assert ours.stdout == notebook.lines
    for name in ("X", "W", "b"):
        assert torch.equal(getattr(ours.model.factors, name), getattr(notebook, name)), name


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("seed", "epochs"), [(1, 300), (2, 50)])
def test_movielens(seed: int, epochs: int, movielens: Path, tmp_path: Path) -> None:
    Y, R = notebook_arrays(movielens)
    overrides = [*save_arrays(Y, R, tmp_path), f"seed={seed}", f"train.epochs={epochs}", "train.log_every=50"]
    ours = train_on(1, CONFIG.read_text(), overrides, tmp_path, seconds=600)
    assert_same_bits(ours, run_notebook(Y, R, seed=seed, epochs=epochs, every=50))


@pytest.mark.parametrize(
    ("num_items", "num_users", "num_features", "lr", "lambda_", "seed"),
    [
        (60, 40, 7, 1e-2, 0.3, 3),
        (31, 77, 16, 3e-3, 10.0, 4),
        (50, 20, 100, 1e-3, 0.0, 5),
        (1, 1, 1, 1e-2, 2.5, 6),
    ],
)
def test_small_arrays_1000_epochs(
    num_items: int, num_users: int, num_features: int, lr: float, lambda_: float, seed: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    R = (rng.random((num_items, num_users)) < 0.3) | (num_items == 1)
    Y = rng.standard_normal(R.shape) * R
    arrays = torch.tensor(Y), torch.tensor(R.astype(np.float64))
    settings = {
        "seed": seed,
        "train.epochs": 1000,
        "train.lr": lr,
        "train.lambda_": lambda_,
        "model.num_features": num_features,
    }
    overrides = [*save_arrays(*arrays, tmp_path), *(f"{key}={value}" for key, value in settings.items())]
    ours = train_on(1, CONFIG.read_text(), overrides, tmp_path)
    assert_same_bits(
        ours,
        run_notebook(*arrays, seed=seed, epochs=1000, num_features=num_features, lr=lr, lambda_=lambda_),
    )


def test_notebook_config_is_the_notebooks() -> None:
    config = load_config(CONFIG)
    assert (config.data.y, config.data.r, config.model.num_features) == ("Y.npy", "R.npy", 100)
    train = config.train
    assert (train.cost, train.lr, train.lambda_, train.epochs) == ("dense", 1e-4, 1.0, 15_000)
