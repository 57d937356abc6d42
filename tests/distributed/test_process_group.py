"""Ranks that drift apart or are lost, and a cost that is spread over ranks."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from cofi_dist.cost.dense import DenseCost
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.distributed.process_group import GroupComm
from cofi_dist.errors import RankLostError, TrainingError
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks
from tests.support.problems import close, random_factors, random_ratings, shard_of, slice_factors


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


def test_backends_are_named() -> None:
    assert SoloComm().backend(torch.device("cpu")) == "none"
    group = object.__new__(GroupComm)
    assert group.backend(torch.device("cuda")) == "nccl"
    assert group.backend(torch.device("cpu")) == "gloo"
    group.carry_over_host(True)
    assert group.backend(torch.device("cuda")) == "gloo"
