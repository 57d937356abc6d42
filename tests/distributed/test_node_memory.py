"""Sums of the ranks of one machine in memory that they share."""

import os
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cofi_dist.distributed import node_memory, pieces
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.process_group import GroupComm
from cofi_dist.testing import run_ranks

SHAPES = [(3, 50), (0, 4), (7,), (1,)]
IN_MEMORY = hasattr(os, "posix_fallocate") and node_memory.FOLDER.is_dir()


def numbers_of(rank: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]


def _sums(comm: Comm, folder: Path) -> tuple[list[list[Tensor]], int, bool]:
    # so that these few numbers take several batches, of which some split a tensor
    node_memory.SLOT_BYTES, node_memory.LEAST_BYTES, node_memory.FOLDER = (64 * 8,), 0, folder
    found, overlaps = [], 0

    def overlap() -> None:
        nonlocal overlaps
        overlaps += 1

    for dtype in (torch.float32, torch.float64, torch.float32):
        numbers = numbers_of(comm.rank, dtype)
        comm.all_reduce_(*numbers, overlap=overlap)
        found.append(numbers)
    assert isinstance(comm, GroupComm)
    return found, overlaps, comm._memory is not None


@pytest.mark.parametrize("has_memory", [True, False])
@pytest.mark.parametrize("world_size", [2, 3])
def test_sums_are_the_same_with_and_without_memory(world_size: int, has_memory: bool, tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    if has_memory:
        folder.mkdir()
    want = [
        sum(numbers)
        for numbers in zip(*(numbers_of(r, torch.float64) for r in range(world_size)), strict=True)
    ]
    for found, overlaps, is_shared in run_ranks(world_size, _sums, folder, tmp=tmp_path):
        assert is_shared == (has_memory and IN_MEMORY)
        assert overlaps == 3
        for numbers in found:
            for got, total in zip(numbers, want, strict=True):
                rtol = 1e-12 if got.dtype == torch.float64 else 1e-5
                torch.testing.assert_close(got.double(), total, rtol=rtol, atol=rtol)
    assert not has_memory or not list(folder.iterdir()), "a file was left behind"


def _files_before_the_last_rank_comes(comm: Comm, folder: Path) -> list[Path]:
    node_memory.LEAST_BYTES, node_memory.FOLDER = 0, folder
    if comm.rank == 1:
        time.sleep(0.3)  # rank 0 waits, and might be killed in the meantime
    files = list(folder.iterdir())
    comm.all_reduce_(torch.ones(9))
    return files


def test_no_file_is_there_while_a_rank_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    assert run_ranks(2, _files_before_the_last_rank_comes, folder, tmp=tmp_path) == [[], []]


def _parts(comm: Comm, folder: Path) -> tuple[list[float], list[float], list[float], list[float], bool]:
    # so that parts take several rounds, or several messages
    pieces.PIECE_BYTES = 64
    node_memory.SLOT_BYTES, node_memory.LEAST_BYTES, node_memory.FOLDER = (64 * 8,), 0, folder
    ranks = range(comm.world_size)
    whole = torch.empty(comm.world_size * 150)
    comm.all_gather(torch.full((150,), float(comm.rank)), whole)
    equal = torch.stack([torch.full((70,), 10.0 * comm.rank + to) for to in ranks])
    # the rank's number times 50 rows to each
    sent = torch.cat([torch.full((50 * comm.rank,), 10.0 * comm.rank + to) for to in ranks])
    received = torch.empty(sum(50 * rank for rank in ranks))
    counts = [50 * rank for rank in ranks]
    comm.fetch(sent, [50 * comm.rank] * comm.world_size, received, counts, lambda: None)
    assert isinstance(comm, GroupComm)
    got = comm.all_to_all(equal, [70] * comm.world_size)
    own = torch.empty(70)
    comm.exchange([], [(equal.view(1, -1), own)], lambda: None)
    return whole.tolist(), got.tolist(), received.tolist(), own.tolist(), comm._memory is not None


@pytest.mark.parametrize("has_memory", [True, False])
def test_parts_arrive_the_same_with_and_without_memory(has_memory: bool, tmp_path: Path) -> None:
    folder, ranks = tmp_path / "memory", range(3)
    if has_memory:
        folder.mkdir()
    for receiver, found in enumerate(run_ranks(3, _parts, folder, tmp=tmp_path)):
        whole, got, received, own, is_shared = found
        assert is_shared == (has_memory and IN_MEMORY)
        assert whole == [float(rank) for rank in ranks for _ in range(150)]
        assert got == [10.0 * rank + receiver for rank in ranks for _ in range(70)]
        assert received == [10.0 * rank + receiver for rank in ranks for _ in range(50 * rank)]
        assert own == [sum(10.0 * rank + receiver for rank in ranks)] * 70
