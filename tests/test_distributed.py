"""Sums, gathers, agreements and checks on real ranks; and one process, which changes nothing."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from cofi_dist.cost.dense import DenseCost
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.distributed.device import choose_device
from cofi_dist.distributed.process_group import GroupComm
from cofi_dist.distributed.rendezvous import _address_towards
from cofi_dist.errors import ConfigError, DataError, RankLostError, TrainingError
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks
from tests.support.problems import close, random_factors, random_ratings, shard_of, slice_factors


def test_solo_changes_no_bit() -> None:
    comm = SoloComm()
    x, y = torch.rand(3), torch.tensor(1.5)
    kept = x.clone()
    comm.all_reduce_(x)
    assert torch.equal(x, kept)
    assert comm.all_reduce_scalars(y, y) == (y, y)
    assert comm.from_rank_zero(lambda: 5) == 5
    assert torch.equal(comm.gather_rows_to_rank_zero(x, [3]), x)


def _sums(comm: Comm) -> tuple[Tensor, Tensor, Tensor, tuple[float, ...]]:
    k = comm.rank + 1.0
    one, two, strided = torch.full((3,), k), torch.full((2, 2), 10 * k), torch.full((2, 3), k).T
    comm.all_reduce_(one)
    comm.all_reduce_(two, strided)
    return (
        one,
        two,
        strided,
        tuple(float(s) for s in comm.all_reduce_scalars(torch.tensor(k), torch.tensor(-k))),
    )


def test_sums_over_ranks(tmp_path: Path) -> None:
    for one, two, strided, scalars in run_ranks(3, _sums, tmp=tmp_path):
        assert torch.equal(one, torch.full((3,), 6.0))
        assert torch.equal(two, torch.full((2, 2), 60.0))
        assert torch.equal(strided, torch.full((3, 2), 6.0))
        assert scalars == (6.0, -6.0)


def _gather(comm: Comm) -> Tensor:
    return comm.gather_rows_to_rank_zero(torch.full((comm.rank, 2), float(comm.rank)), range(comm.world_size))


def test_rows_are_gathered_in_rank_order(tmp_path: Path) -> None:
    rows = run_ranks(4, _gather, tmp=tmp_path)[0]
    assert rows[:, 0].tolist() == [1.0, 2.0, 2.0, 3.0, 3.0, 3.0]


def _first(comm: Comm, fails: bool) -> tuple[object, bool]:
    def work() -> int:
        assert comm.rank == 0
        if fails:
            raise DataError("r.csv: line 3: bad")
        return 42

    try:
        return comm.from_rank_zero(work), False
    except DataError as error:
        return str(error), error.shared


def test_all_ranks_hear_what_the_first_one_found(tmp_path: Path) -> None:
    assert run_ranks(3, _first, False, tmp=tmp_path) == [(42, False)] * 3
    assert run_ranks(3, _first, True, tmp=tmp_path) == [("r.csv: line 3: bad", True)] * 3


def _drift(comm: Comm, dtype: torch.dtype, drifts: bool) -> str:
    X = torch.ones(50, 3, dtype=dtype)
    if drifts and comm.rank == 1:
        X[7, 1] = torch.nextafter(X[7, 1], torch.tensor(2.0, dtype=dtype))
    try:
        comm.require_replicated(X, "X")
    except TrainingError as error:
        return str(error)
    return "equal"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_bit_of_drift_is_an_error_on_every_rank(dtype: torch.dtype, tmp_path: Path) -> None:
    assert run_ranks(2, _drift, dtype, False, tmp=tmp_path) == ["equal"] * 2
    for said in run_ranks(2, _drift, dtype, True, tmp=tmp_path):
        assert "X differs between ranks" in said


def _lonely(comm: Comm) -> str:
    if isinstance(comm, GroupComm) and comm.rank == 1:  # gone as a process that is killed
        comm._heartbeat.stop()
        dist.destroy_process_group()
        comm.close = lambda: None  # type: ignore[method-assign]
        return "gone"
    try:
        comm.all_reduce_(torch.ones(5))
    except RankLostError as error:
        return str(error)
    return "summed"


def test_a_lost_peer_is_one_clear_error(tmp_path: Path) -> None:
    assert run_ranks(2, _lonely, tmp=tmp_path)[0].startswith(
        "lost contact with rank 1, which gives no sign of life"
    )


def _dense_term(comm: Comm, ranges: list[UserRange]) -> Tensor:
    users = ranges[comm.rank]
    shard = shard_of(random_ratings(5, 4, 12), users, 4)
    term = DenseCost(shard, torch.device("cpu"))(
        slice_factors(random_factors(4, 5, 3), users), with_cost=True
    )
    comm.all_reduce_(term.dX)
    return term.dX


@pytest.mark.parametrize("bounds", [(0, 2, 5), (0, 5, 5)], ids=["uneven", "empty rank"])
def test_two_ranks_match_one(bounds: tuple[int, int, int], tmp_path: Path) -> None:
    whole = _dense_term(SoloComm(), [UserRange(0, 5)])
    ranges = [UserRange(bounds[0], bounds[1]), UserRange(bounds[1], bounds[2])]
    got = run_ranks(2, _dense_term, ranges, tmp=tmp_path)
    close(got[0], whole)
    assert torch.equal(got[0], got[1]), "replicas of dX drifted"


def test_a_rank_that_raises_fails_the_test_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="rank 1 raised"):
        run_ranks(2, _raise_on_one, tmp=tmp_path)


def _raise_on_one(comm: Comm) -> None:
    if comm.rank == 1:
        raise KeyError("boom")
    comm.all_reduce_(torch.ones(1))


def test_rank_0_is_not_published_at_a_loopback_address(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"node0": "127.0.1.1", "node1": "198.51.100.7"}  # as node0's /etc/hosts has it

    def look_up(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (where[host], port))]

    class Way(socket.socket):
        def connect(self, address: Any) -> None:
            self.own = "127.0.0.1" if address[0].startswith("127.") else "198.51.100.6"

        def getsockname(self) -> Any:
            return self.own, 1234

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "socket", Way)
    assert _address_towards("node0", 29500) == "node0"
    assert _address_towards("node1", 29500) == "198.51.100.6"


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("cpu", SoloComm()) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="device: cuda needs a device a rank"):
        choose_device("cuda", SoloComm())
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="device: mps is not available"):
        choose_device("mps", SoloComm())


def test_backends_are_named() -> None:
    assert SoloComm().backend(torch.device("cpu")) == "none"
    group = object.__new__(GroupComm)
    assert group.backend(torch.device("cuda")) == "nccl"
    assert group.backend(torch.device("cpu")) == "gloo"
