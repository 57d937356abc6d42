"""The error of one rank is raised on all of them, and none waits for a rank that has left."""

import time
from pathlib import Path
from typing import Any

import pytest

from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import CofiError, ConfigError, DataError
from cofi_dist.testing import run_ranks


def _fail_on_last(comm: Comm) -> tuple[str, str, bool, float]:
    def leave_nothing() -> None:
        pass

    comm.barrier()
    began = time.monotonic()
    try:
        if comm.rank == comm.world_size - 1:
            raise DataError("row 7 is odd")
        comm.barrier()
    except CofiError as error:
        raised = comm.abandon(error)
    comm.close = leave_nothing  # type: ignore[method-assign] # the group has ended
    return type(raised).__name__, str(raised), raised.shared, time.monotonic() - began


@pytest.mark.parametrize("world_size", [2, 3])
def test_all_ranks_raise_the_error_of_one(world_size: int, tmp_path: Path) -> None:
    for kind, message, is_shared, seconds in run_ranks(world_size, _fail_on_last, tmp=tmp_path):
        assert (kind, message) == ("DataError", f"rank {world_size - 1}: row 7 is odd")
        assert is_shared
        assert seconds < 5


def _fail_on_all(comm: Comm) -> list[Any]:
    raised = comm.abandon(ConfigError("seed: is odd", shared=True))
    comm.close = lambda: None  # type: ignore[method-assign]
    return [str(raised)]


def test_an_error_that_all_ranks_have_stays_as_it_is(tmp_path: Path) -> None:
    assert run_ranks(2, _fail_on_all, tmp=tmp_path) == [["seed: is odd"]] * 2


def test_one_process_raises_its_own_error() -> None:
    error = DataError("row 7 is odd")
    assert SoloComm().abandon(error) is error
