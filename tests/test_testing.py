"""Ranks that tests start: their mistakes are not lost."""

from pathlib import Path

import pytest
import torch

from cofi_dist.distributed.comm import Comm
from cofi_dist.testing import run_ranks


def test_a_rank_that_raises_fails_the_test_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="rank 1 raised"):
        run_ranks(2, _raise_on_one, tmp=tmp_path)


def _raise_on_one(comm: Comm) -> None:
    if comm.rank == 1:
        raise KeyError("boom")
    comm.all_reduce_(torch.ones(1))
