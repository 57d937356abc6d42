"""On a CUDA device: the notebook's bits, and the sparse cost beside the dense one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.cost import kernels
from cofi_dist.cost.kernels import choose_pair_dot, pair_dot
from tests.parity.notebook import run_notebook
from tests.parity.runs import train_on

pytestmark = pytest.mark.gpu

SYNTHETIC = "data: {synthetic: {num_users: 90, num_items: 700, num_ratings: 5000}}\n"
SETTINGS = [
    "device=cuda",
    "model.num_features=20",
    "train.lr=1.0e-3",
    "train.epochs=100",
    "train.log_every=20",
]


def test_dense_is_the_notebook_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    R = (rng.random((300, 80)) < 0.2).astype(np.float64)
    Y = rng.standard_normal(R.shape) * R
    np.save(tmp_path / "Y.npy", Y)
    np.save(tmp_path / "R.npy", R)
    config = f"data: {{y: {tmp_path / 'Y.npy'}, r: {tmp_path / 'R.npy'}}}\n"
    overrides = ["device=cuda", "train.cost=dense", "train.epochs=300", "seed=3"]
    ours = train_on(1, config, overrides, tmp_path)
    notebook = run_notebook(
        torch.tensor(Y, device="cuda"), torch.tensor(R, device="cuda"), seed=3, epochs=300
    )
    assert ours.stdout == notebook.lines
    for name in ("X", "W", "b"):
        assert torch.equal(getattr(ours.model.factors, name), getattr(notebook, name).cpu()), name


def test_sparse_and_dense_are_one_cost(tmp_path: Path) -> None:
    dense, sparse = (
        train_on(1, SYNTHETIC, [*SETTINGS, "train.dtype=float64", f"train.cost={cost}"], tmp_path)
        for cost in ("dense", "sparse")
    )
    for epoch, cost in dense.costs.items():
        assert sparse.costs[epoch] == pytest.approx(cost, rel=1e-10), epoch


def test_both_forms_of_pair_dot_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "GPU_CHUNK", 100)
    device = torch.device("cuda")
    A, B = torch.randn(50, 12, device=device), torch.randn(40, 12, device=device)
    a, b = (torch.randint(n, (1000,), device=device).int() for n in (50, 40))
    compiled, why = choose_pair_dot(10**9, 12, 10**5, device, torch.float32)
    assert why == "pair_dot: compiled"
    torch.testing.assert_close(compiled(A, B, a, b), pair_dot(A, B, a, b))
