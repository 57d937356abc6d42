"""One process: nothing is changed, and nothing slow is imported."""

import subprocess
import sys

import torch

from cofi_dist.distributed.comm import SoloComm


def test_solo_changes_no_bit() -> None:
    comm = SoloComm()
    x, y = torch.rand(3), torch.tensor(1.5)
    kept = x.clone()
    comm.all_reduce_(x)
    comm.tree_reducer([[range(8)]]).all_reduce_(x)
    assert torch.equal(x, kept)
    assert comm.all_reduce_scalars(y, y) == (y, y)
    assert comm.from_rank_zero(lambda: 5) == 5
    assert torch.equal(comm.gather_rows_to_rank_zero(x, [3]), x)


def test_torch_is_not_imported() -> None:
    code = "import sys, cofi_dist.distributed.comm; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
