"""Tensors of a device that gloo carries over copies on the host; here, the device is the CPU too."""

from pathlib import Path
from typing import Any
from unittest import mock

import torch

from cofi_dist.distributed import process_group
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.host_copies import host_twins
from cofi_dist.testing import run_ranks
from tests.contracts import test_comms


def _as_on_a_device(comm: Comm, copies: bool) -> list[Any]:
    with mock.patch.object(process_group, "is_on_device", return_value=copies):
        comm.carry_over_host(True)
        gathered = test_comms._gather_rows(comm)
        return [
            gathered,
            test_comms._sum(comm),
            test_comms._sum_scalars(comm),
            test_comms._sum_blocks(comm),
            test_comms._exchange(comm),
            test_comms._agree(comm),
        ]


def test_copies_are_carried_as_tensors_of_the_host_are(tmp_path: Path) -> None:
    with_copies, without = (run_ranks(3, _as_on_a_device, copies, tmp=tmp_path) for copies in (True, False))
    assert str(with_copies) == str(without)


def test_what_is_only_read_or_only_written_is_not_copied_the_other_way() -> None:
    given = torch.arange(6.0).view(2, 3).T
    with host_twins(given, are_read=True, are_written=False) as (twin,):
        assert torch.equal(twin, given)
        twin.zero_()
    assert given.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    with host_twins(given, are_read=False, are_written=True) as (twin,):
        twin.fill_(7.0)
    assert given.tolist() == [[7.0, 7.0]] * 3
