"""What every communicator promises, held by one process and by 2 and 3 ranks of gloo alike."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cofi_dist.distributed.comm import Comm, Reducer, SoloComm
from cofi_dist.errors import CheckpointError, CofiError, ConfigError, DataError, StoppedError
from cofi_dist.sharding.partition import UserPartition
from cofi_dist.testing import run_ranks
from cofi_dist.training.trainer import DivergedError

NUM_BLOCKS = 8


@pytest.fixture(params=[1, 2, 3], ids=["one process", "2 ranks", "3 ranks"])
def world_size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def on_ranks(world_size: int, tmp_path: Path) -> Callable[..., list[Any]]:
    """Call a function on every rank, and return the results in rank order."""

    def call(work: Callable[..., Any], *args: Any) -> list[Any]:
        return (
            [work(SoloComm(), *args)] if world_size == 1 else run_ranks(world_size, work, *args, tmp=tmp_path)
        )

    return call


def _know_themselves(comm: Comm) -> tuple[int, int, int, int, str]:
    comm.set_timeout(100.0)
    comm.barrier()
    backend = comm.backend(torch.device("cpu"))
    return comm.rank, comm.world_size, comm.local_rank, comm.local_world_size, backend


def test_ranks_are_counted_from_0(world_size: int, on_ranks: Callable[..., list[Any]]) -> None:
    backend = "none" if world_size == 1 else "gloo"
    wanted = [(rank, world_size, rank, world_size, backend) for rank in range(world_size)]
    assert on_ranks(_know_themselves) == wanted


def _sum(comm: Comm) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    value, calls = comm.rank + 1.0, []
    alone, one, strided = torch.full((3,), value), torch.full((2, 2), 10 * value), torch.full((2, 3), value).T
    counts = torch.full((4,), comm.rank + 1)
    comm.all_reduce_(alone)
    comm.all_reduce_(one, strided, overlap=lambda: calls.append(1))
    comm.all_reduce_(counts, overlap=lambda: calls.append(1))
    return alone, one, strided, counts, len(calls)


def test_sums_are_over_all_ranks_and_what_overlaps_is_called_once(
    world_size: int, on_ranks: Callable[..., list[Any]]
) -> None:
    total = sum(range(1, world_size + 1))
    for alone, one, strided, counts, calls in on_ranks(_sum):
        assert torch.equal(alone, torch.full((3,), float(total)))
        assert torch.equal(one, torch.full((2, 2), 10.0 * total))
        assert torch.equal(strided, torch.full((3, 2), float(total)))
        assert torch.equal(counts, torch.full((4,), total))
        assert calls == 2


def _sum_scalars(comm: Comm) -> list[tuple[float, int]]:
    value = torch.tensor(comm.rank + 1.0)
    return [(float(s), s.ndim) for s in comm.all_reduce_scalars(value, -value[None], 0.5 * value.double())]


def test_scalars_are_summed_over_all_ranks(world_size: int, on_ranks: Callable[..., list[Any]]) -> None:
    total = float(sum(range(1, world_size + 1)))
    assert on_ranks(_sum_scalars) == [[(total, 0), (-total, 0), (0.5 * total, 0)]] * world_size


def _blocks() -> tuple[Tensor, Tensor]:
    """Return sums of each block, whose sum depends on the order of additions."""
    random = torch.Generator().manual_seed(3)
    return torch.randn(NUM_BLOCKS, 5, 2, generator=random), torch.randn(NUM_BLOCKS, generator=random)


def _in_tree_order(sums: Tensor) -> Tensor:
    a, b, c, d, e, f, g, h = sums
    total: Tensor = ((a + b) + (c + d)) + ((e + f) + (g + h))
    return total


def _sum_blocks(comm: Comm) -> tuple[Tensor, Tensor, Tensor, float, int]:
    partition = UserPartition.balanced(np.full(16, 5, np.int64), comm.world_size, NUM_BLOCKS)
    reducer: Reducer = comm.tree_reducer(partition.subtrees)
    start, stop = partition.bounds[comm.rank : comm.rank + 2]
    subtree_sums = partition.local_blocks(comm.rank).subtree_sums
    features, bias = (torch.from_numpy(subtree_sums(each[start:stop].numpy())) for each in _blocks())
    alone, calls = features.clone(), []
    scalars = reducer.all_reduce_scalars(bias)
    reducer.all_reduce_(alone)
    others = features[1:].clone()
    reducer.all_reduce_(features, bias, overlap=lambda: calls.append(1))
    assert torch.equal(features[1:], others), "entries after the first are left as they are"
    return alone[0], features[0], bias[0], float(scalars[0]), len(calls)


def test_a_tree_reducer_adds_blocks_in_the_order_of_the_tree(on_ranks: Callable[..., list[Any]]) -> None:
    features, bias = map(_in_tree_order, _blocks())
    for alone, together, bias_sum, scalar, calls in on_ranks(_sum_blocks):
        assert torch.equal(alone, features)
        assert torch.equal(together, features)
        assert torch.equal(bias_sum, bias)
        assert scalar == pytest.approx(float(bias), rel=1e-5)
        assert calls == 1


def _largest(comm: Comm) -> tuple[int, ...]:
    return comm.max_over_ranks(comm.rank, -comm.rank, 2**40)


def test_the_largest_number_is_found(world_size: int, on_ranks: Callable[..., list[Any]]) -> None:
    assert on_ranks(_largest) == [(world_size - 1, 0, 2**40)] * world_size


def _gather_rows(comm: Comm) -> Tensor:
    rows = torch.full((comm.rank + 1, 2), float(comm.rank))[: None if comm.rank else 0]
    return comm.gather_rows_to_rank_zero(rows, [0, 2, 3][: comm.world_size])


def test_rows_are_gathered_in_rank_order(world_size: int, on_ranks: Callable[..., list[Any]]) -> None:
    gathered, *others = on_ranks(_gather_rows)
    assert gathered[:, 0].tolist() == [1.0, 1.0, 2.0, 2.0, 2.0][: [0, 2, 5][world_size - 1]]
    for rank, rows in enumerate(others, start=1):
        assert torch.equal(rows, torch.full((rank + 1, 2), float(rank)))


def _exchange(comm: Comm) -> tuple[list[float], list[float]]:
    # rank r sends r + 1 numbers to each rank: its own number and the receiver's
    parts = torch.stack(
        [torch.full((comm.rank + 1,), 10.0 * comm.rank + to) for to in range(comm.world_size)]
    )
    received = comm.all_to_all(parts, [rank + 1 for rank in range(comm.world_size)])
    whole = torch.empty(2 * comm.world_size)
    comm.all_gather(torch.full((2,), float(comm.rank)), whole)
    return received.tolist(), whole.tolist()


def test_parts_reach_their_rank_in_rank_order(world_size: int, on_ranks: Callable[..., list[Any]]) -> None:
    ranks = range(world_size)
    for receiver, (received, whole) in enumerate(on_ranks(_exchange)):
        assert received == [10.0 * sender + receiver for sender in ranks for _ in range(sender + 1)]
        assert whole == [float(rank) for rank in ranks for _ in range(2)]


VALUES: list[Any] = [
    None,
    True,
    0,
    -(2**70),
    0.1 + 0.2,
    float("inf"),
    "",
    "Zoë \u2028 \ud800 \udcff",
    {"a": [1, None]},
]


def _pass_on(comm: Comm) -> tuple[list[Any], list[Any]]:
    def work() -> list[Any]:
        assert comm.rank == 0
        return VALUES

    return comm.from_rank_zero(work), comm.all_gather_objects([comm.rank, VALUES[comm.rank :]])


def test_values_arrive_as_they_were(world_size: int, on_ranks: Callable[..., list[Any]]) -> None:
    for first, gathered in on_ranks(_pass_on):
        assert first == VALUES
        assert gathered == [[rank, VALUES[rank:]] for rank in range(world_size)]


ERRORS: list[CofiError] = [
    ConfigError("c.yaml: train.lr: is wrong"),
    DataError("r.csv: line 3: Zoë"),
    CheckpointError("x"),
    StoppedError("stopped by SIGTERM before the first step"),
    DivergedError("epoch 3: the cost is nan", None),
]


def _fail(comm: Comm) -> list[tuple[str, str, bool]]:
    def fail(error: CofiError) -> None:
        assert comm.rank == 0
        raise error

    heard = []
    for error in ERRORS:
        with pytest.raises(CofiError) as raised:
            comm.from_rank_zero(partial(fail, error))
        heard.append((type(raised.value).__name__, str(raised.value), raised.value.shared))
    return heard


def test_errors_arrive_with_their_kind_and_their_words(
    world_size: int, on_ranks: Callable[..., list[Any]]
) -> None:
    is_shared = world_size > 1
    wanted = [(type(error).__name__, str(error), is_shared or error.shared) for error in ERRORS]
    if is_shared:  # a kind of another module arrives as its base
        wanted[-1] = ("TrainingError", "epoch 3: the cost is nan", True)
    assert on_ranks(_fail) == [wanted] * world_size


def _agree(comm: Comm) -> str:
    for dtype in (torch.float32, torch.float64):
        comm.require_replicated(torch.linspace(0, 1, 7, dtype=dtype), "X")
    comm.require_same({"users": 3, "digest": "ab"}, "the data")
    return "agreed"


def test_what_is_the_same_everywhere_is_accepted(world_size: int, on_ranks: Callable[..., list[Any]]) -> None:
    assert on_ranks(_agree) == ["agreed"] * world_size
