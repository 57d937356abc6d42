"""On a CUDA device: the notebook's bits, Triton's kernels, ALS, graphs, and runs that go on."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix, unknown_pairs
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.kernels.cuda import backend, graph
from cofi_dist.kernels.rating_matrix import device_backend
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import run_step
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.draw import counter_draw
from tests.support.notebook import run_notebook
from tests.support.problems import close, error_term_reference, random_factors, random_ratings
from tests.support.runs import metrics, run, tensors
from tests.support.training_runs import train_on

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
REPLAY = torch.cuda.CUDAGraph.replay
SYNTHETIC = "data: {synthetic: {num_users: 90, num_items: 700, num_ratings: 5000}}\n"
SETTINGS = ["model.num_features=20", "train.lr=1.0e-3", "train.epochs=100", "train.log_every=20"]
BOTH_DEVICES = ["cuda", "cpu"]


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


def test_a_start_by_the_counter_is_that_of_the_cpu() -> None:
    for dtype in (torch.float32, torch.float64):
        for name in ("X", "W", "b"):
            on_cuda, on_cpu = (
                counter_draw(name, [UserRange(5, 500_000)], 7, seed=1, device=device, dtype=dtype)
                for device in (CUDA, torch.device("cpu"))
            )
            assert on_cuda.device.type == "cuda"
            assert torch.equal(on_cuda.cpu(), on_cpu)


@pytest.mark.parametrize(
    "switches", [[], ["model.item_bias=true", "train.lambda_power=0.5"], ["train.unknown_weight=0.3"]]
)
def test_sparse_and_dense_are_one_cost(switches: list[str], tmp_path: Path) -> None:
    given = ["device=cuda", "train.dtype=float64", *SETTINGS, *switches]
    dense, sparse = (
        train_on(1, SYNTHETIC, [*given, f"train.cost={cost}"], tmp_path) for cost in ("dense", "sparse")
    )
    for epoch, cost in dense.costs.items():
        assert sparse.costs[epoch] == pytest.approx(cost, rel=1e-10), epoch


def on_cuda(factors: Factors) -> Factors:
    return Factors(*(factor.to(CUDA) for factor in factors.by_name.values()))


def long_rows(*, weighted: bool = False) -> Ratings:
    """Some items have more ratings than a piece holds; some users and items have none."""
    rng = np.random.default_rng(0)
    R = rng.random((3000, 40)) < np.concatenate([[0.0, 0.95, 0.9], np.full(36, 0.02), [0.0]])
    R[5] = False
    user, item = (place.astype(np.int32) for place in np.nonzero(R))
    values = rng.standard_normal(len(user))
    return Ratings(user, item, values, rng.uniform(0.2, 4, len(user)) if weighted else None)


@pytest.mark.parametrize("unknown_weight", [None, 0.0, 0.5], ids=["no weights", "weights", "unknown pairs"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_features", [1, 20, 100, 300])
def test_triton_and_torch_sum_alike(
    num_features: int, dtype: torch.dtype, unknown_weight: float | None
) -> None:
    assert device_backend(CUDA) is backend.TritonKernels
    ratings = long_rows(weighted=unknown_weight is not None)
    factors = on_cuda(random_factors(40, 3000, num_features, dtype, item_bias=True))
    assert np.bincount(ratings.item).max() > 2 * backend.PIECE
    users, items = sides_of(factors)
    shard = UserShard.single_block(UserRange(0, 3000), 40, ratings)
    triton, torch_ops = (
        build_rating_matrix(shard, CUDA, dtype, unknown_weight=unknown_weight or 0.0, backend=kernels)
        for kernels in (backend.TritonKernels, TorchKernels)
    )
    rtol = 1e-12 if dtype == torch.float64 else 1e-5
    by_user = triton.by_user, torch_ops.by_user, (users, items)
    by_item = triton.by_item, torch_ops.by_item, (items, users)
    for mine, other, sides in (by_user, by_item):
        sums = ((rows.error_gradients(*sides), rows.normal_products(*sides)) for rows in (mine, other))
        for got, want in zip(*map(flat, sums), strict=True):
            close(got, want, rtol)
        close(mine.half_squared_errors(*sides), other.half_squared_errors(*sides), rtol)
        for got, want in zip(mine.csr, other.csr, strict=True):
            assert torch.equal(got.double(), want.double())


def flat(parts: tuple[tuple[Tensor, ...], tuple[Tensor, ...]]) -> list[Tensor]:
    return [tensor for part in parts for tensor in part]


def test_sums_are_the_same_bits_every_time_and_the_formulas() -> None:
    ratings, factors = long_rows(), random_factors(40, 3000, 20)
    cost = SparseCost(
        build_rating_matrix(UserShard.single_block(UserRange(0, 3000), 40, ratings), CUDA, torch.float64)
    )
    terms = [cost(on_cuda(factors), with_cost=True) for _ in range(3)]
    value, *gradients = error_term_reference(factors, ratings)
    for term in terms:
        assert term.value is not None
        assert float(term.value) == pytest.approx(value, rel=1e-12)
        for got, first, want in zip(
            (term.dX[0], *term.user_gradients),
            (terms[0].dX[0], *terms[0].user_gradients),
            gradients,
            strict=True,
        ):
            assert torch.equal(got, first)
            close(got.cpu(), want, 1e-12)


@pytest.mark.parametrize("unknown_weight", [0.0, 0.5])
@pytest.mark.parametrize("item_bias", [False, True])
@pytest.mark.parametrize("steps", [3, 0], ids=["cg", "exact"])
def test_als_is_that_of_the_cpu_and_never_rises(steps: int, item_bias: bool, unknown_weight: float) -> None:
    ratings, costs = random_ratings(60, 40, 900), dict[str, list[float]]()
    for device in BOTH_DEVICES:
        start = random_factors(40, 60, 5, item_bias=item_bias)
        factors = on_cuda(start) if device == "cuda" else start
        cost = build_rating_matrix(
            UserShard.single_block(UserRange(0, 60), 40, ratings),
            torch.device(device),
            torch.float64,
            unknown_weight=unknown_weight,
            tiled=steps > 0,
        )
        counts = torch.from_numpy(np.bincount(ratings.item, minlength=40))
        given = {"item_counts": counts, "steps": steps, "owns_all_users": True}
        given |= {"item_curvature": counts * (1 - unknown_weight)}
        given |= {"unknown": unknown_pairs(cost, unknown_weight)}
        halves = WholeItems.build(cost, factors, Regulariser(0.7, 0.2), **given)  # type: ignore[arg-type]
        als = Als(halves, tolerance=0.0)
        costs[device] = []
        for _ in range(15):
            run_step(als.prepare_step(), SoloComm())
            costs[device].append(als.J)
    assert costs["cuda"] == pytest.approx(costs["cpu"], rel=1e-10)
    assert costs["cuda"] == sorted(costs["cuda"], reverse=True)


@pytest.fixture(params=["adam", "als"])
def optimizer(request: pytest.FixtureRequest) -> str:
    return f"train.optimizer={request.param}"


def test_a_run_that_is_gone_on_with_has_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    given = ["device=cuda", "train.dtype=float32", optimizer]
    whole = run(tmp_path, 1, 40, "whole", *given)
    run(tmp_path, 1, 17, "run", *given)
    run_dir = run(tmp_path, 1, 40, "run", *given)
    assert metrics(run_dir) == metrics(whole)
    got, want = tensors(run_dir), tensors(whole)
    for name in want:
        assert torch.equal(got[name], want[name]), name


@pytest.mark.parametrize(("before", "after"), [("cpu", "cuda"), ("cuda", "cpu")])
def test_a_run_moves_to_another_device(before: str, after: str, optimizer: str, tmp_path: Path) -> None:
    # the start is drawn on the device, which has numbers of its own
    want = metrics(run(tmp_path, 1, 40, "whole", f"device={before}", optimizer))
    run(tmp_path, 1, 17, "run", f"device={before}", optimizer)
    got = metrics(run(tmp_path, 1, 40, "run", f"device={after}", optimizer))
    for a, b in zip(got, want, strict=True):
        assert a == pytest.approx(b, rel=1e-8)


def test_a_graph_plays_back_the_same_bits(tmp_path: Path) -> None:
    given = [*(text for text in SETTINGS if "epochs" not in text), "device=cuda", "train.epochs=60"]
    recorded = train_on(1, SYNTHETIC, given, tmp_path)
    with mock.patch.object(graph, "WARM_UP_CALLS", 10**9):
        eager = run_in_this_process(given, tmp_path)
    with mock.patch.object(torch.cuda.CUDAGraph, "replay", autospec=True, side_effect=REPLAY) as replay:
        again = run_in_this_process(given, tmp_path)
    assert replay.call_count > 40
    for name in ("X", "W", "b"):
        want = getattr(recorded.model.factors, name)
        assert torch.equal(getattr(eager, name), want), name
        assert torch.equal(getattr(again, name), want), name


def run_in_this_process(overrides: list[str], tmp_path: Path) -> Factors:
    from cofi_dist.model import Model
    from cofi_dist.run.train import train

    file, run_dir = tmp_path / "here.yaml", tmp_path / f"here-{len(list(tmp_path.iterdir()))}"
    file.write_text(SYNTHETIC)
    train(file, [*overrides, f"run_dir={run_dir}"], SoloComm(), quiet=True)
    return Model.load(run_dir).factors
