"""On CUDA devices, several ranks: on one device by gloo, the same bits on any number of them, and by nccl."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.device import choose_device
from cofi_dist.report.compare import compare
from cofi_dist.sharding.partition import UserPartition
from cofi_dist.testing import run_ranks
from tests.support.runs import metrics, run

pytestmark = pytest.mark.gpu

EPOCHS = 30
PROBLEMS = {
    "adam": [],
    "als": ["train.optimizer=als"],
    "adam, implicit": ["train.unknown_weight=0.3"],
    "als, implicit": ["train.optimizer=als", "train.unknown_weight=0.3"],
}
two_devices = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here")


@pytest.fixture(params=list(PROBLEMS.values()), ids=list(PROBLEMS))
def problem(request: pytest.FixtureRequest) -> list[str]:
    return ["device=cuda", *request.param]


def assert_same_bits(first: Path, second: Path) -> None:
    assert [each for each in compare(first, second) if not each.bit_identical] == []


def carried(comm: Comm, backend: str) -> list[Any]:
    """What every collective makes of tensors of the device, on the host."""
    device = choose_device("cuda", comm, backend)
    rank, size = comm.rank, comm.world_size
    rows = torch.arange(6.0, device=device).view(3, 2) + rank
    alone, first, second = rows.clone(), rows.clone(), rows.T.clone()
    comm.all_reduce_(alone)
    comm.all_reduce_(first, second, overlap=lambda: None)
    scalars = comm.all_reduce_scalars(rows[0, 0], rows[1, 1].double())
    whole = torch.empty(2 * size, device=device)
    comm.all_gather(rows[0].contiguous(), whole)
    parts = rows[:1].expand(size, 2).contiguous()
    received = comm.all_to_all(parts, [2] * size)
    gathered = comm.gather_rows_to_rank_zero(rows, [3] * size)
    comm.require_replicated(alone, "sums")
    spread = UserPartition.balanced(torch.ones(8, dtype=torch.int64).numpy(), size, 8)
    of_subtrees = rows.expand(len(spread.subtrees[rank]), 3, 2).clone()
    comm.tree_reducer(spread.subtrees).all_reduce_(of_subtrees, overlap=lambda: None)
    slices, scattered, fetched = (torch.empty(size, 2, device=device) for _ in range(3))
    own = scattered[:1]
    comm.exchange([(rows[:1], slices)], [(rows[:1].expand(1, size, 2).clone(), own)], lambda: None)
    comm.fetch(parts, [1] * size, fetched, [1] * size, lambda: None)
    found = [alone, first, second, *scalars, whole, received, of_subtrees[0], slices, own, fetched]
    assert {each.device for each in found} == {device}
    return [comm.backend(device), *(each.cpu() for each in (*found, *([gathered] if rank == 0 else [])))]


def assert_carried(found: list[list[Any]], backend: str) -> None:
    size = len(found)
    rows = [torch.arange(6.0).view(3, 2) + rank for rank in range(size)]
    total = torch.stack(rows).sum(0)
    firsts = torch.cat([each[0] for each in rows])
    subtrees = [len(each) for each in UserPartition.balanced(torch.ones(8).long().numpy(), size, 8).subtrees]
    of_subtrees = sum(count * each for count, each in zip(subtrees, rows, strict=True))
    rows_of_ranks = firsts.view(size, 2)
    want = [total, total, total.T, total[0, 0], total[1, 1], firsts, firsts, of_subtrees]
    want += [rows_of_ranks, total[:1], rows_of_ranks]
    for rank, (named, *got) in enumerate(found):
        assert named == backend
        for ours, formula in zip(got, [*want, torch.cat(rows)][: len(got)], strict=True):
            assert torch.equal(ours.double(), formula.double())  # type: ignore[union-attr]
        assert len(got) == len(want) + (rank == 0)


@pytest.mark.parametrize("ranks", [2, 3])
def test_gloo_carries_tensors_of_a_device_that_ranks_share(ranks: int, tmp_path: Path) -> None:
    assert_carried(run_ranks(ranks, carried, "gloo", tmp=tmp_path), "gloo")


@two_devices
def test_nccl_carries_tensors_of_devices_of_their_own(tmp_path: Path) -> None:
    assert_carried(run_ranks(2, carried, "nccl", tmp=tmp_path), "nccl")


def test_nccl_is_refused_where_ranks_would_share_a_device(tmp_path: Path) -> None:
    ranks = 1 + torch.cuda.device_count()
    with pytest.raises(AssertionError, match="nccl needs a CUDA device for each rank, and 2 ranks have"):
        run_ranks(ranks, carried, "nccl", tmp=tmp_path)


@pytest.mark.parametrize("items", ["replicated", "sharded"])
def test_ranks_on_one_device_learn_what_one_does(items: str, problem: list[str], tmp_path: Path) -> None:
    ranks, blocks = 3, ["train.items=sharded", "train.item_block=7"] if items == "sharded" else []
    one = run(tmp_path, 1, EPOCHS, "on1", *problem)
    several = run(tmp_path, ranks, EPOCHS, f"on{ranks}", *problem, *blocks, "train.backend=gloo")
    for got, want in zip(metrics(several), metrics(one), strict=True):
        assert got == pytest.approx(want, rel=1e-8)
    log = "".join(path.read_text() for path in several.glob("*.log"))
    assert "backend gloo" in log
    if torch.cuda.device_count() == 1:
        assert f"{ranks} ranks share a CUDA device" in log


@pytest.fixture
def invariant(problem: list[str]) -> list[str]:
    return [*problem, "train.reduction=invariant", "train.dtype=float32"]


@pytest.fixture
def bits_of(tmp_path: Path) -> Callable[..., Path]:
    def train(ranks: int, given: list[str], backend: str = "gloo") -> Path:
        return run(tmp_path, ranks, EPOCHS, f"{backend}{ranks}", *given, f"train.backend={backend}")

    return train


def test_any_number_of_ranks_gives_the_same_bits(invariant: list[str], bits_of: Callable[..., Path]) -> None:
    one = bits_of(1, invariant)
    for ranks in (2, 3):
        assert_same_bits(bits_of(ranks, invariant), one)


def test_sharded_items_have_the_bits_of_replicated_ones(
    invariant: list[str], bits_of: Callable[..., Path], tmp_path: Path
) -> None:
    one = bits_of(1, invariant)
    for ranks in (1, 2, 3):
        given = [*invariant, "train.items=sharded", "train.item_block=7", "train.backend=gloo"]
        assert_same_bits(run(tmp_path, ranks, EPOCHS, f"sharded{ranks}", *given), one)


@two_devices
def test_nccl_gives_the_bits_of_gloo(invariant: list[str], bits_of: Callable[..., Path]) -> None:
    assert_same_bits(bits_of(2, invariant, "nccl"), bits_of(2, invariant))


def test_a_run_that_is_moved_from_ranks_to_ranks_keeps_its_bits(
    invariant: list[str], bits_of: Callable[..., Path], tmp_path: Path
) -> None:
    whole = bits_of(2, invariant)
    for ranks, epochs in ((3, 11), (1, EPOCHS)):
        moved = run(tmp_path, ranks, epochs, "moved", *invariant, "train.backend=gloo")
    assert_same_bits(moved, whole)
