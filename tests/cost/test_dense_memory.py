"""A dense run needs what it is said to need."""

import subprocess
import sys

from cofi_dist.cost.dense import BYTES_PER_CELL

MEASURE = """
import numpy as np, torch
from cofi_dist.cost.dense import DenseCost
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.factors import Factors
M, U = 6000, 1000
one = np.zeros(1, np.int32)
def peak():
    # VmHWM: unlike getrusage's maximum, it does not begin with that of the parent process
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
factors = Factors(torch.ones(M, 4), torch.ones(U, 4), torch.ones(1, U))
shard = UserShard.single_block(UserRange(0, 1), 1, Ratings(one, one, np.ones(1)))
tiny = DenseCost(shard, torch.device("cpu"))
tiny(Factors(torch.ones(1, 4), torch.ones(1, 4), torch.ones(1, 1)), with_cost=True)
before = peak()
shard = UserShard.single_block(UserRange(0, U), M, Ratings(one, one, np.ones(1)))
cost = DenseCost(shard, torch.device("cpu"))
for _ in range(2):
    cost(factors, with_cost=True)
print((peak() - before) / (M * U))
"""


def test_the_need_is_what_an_epoch_takes() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    per_cell = float(done.stdout)
    assert 0.6 * BYTES_PER_CELL < per_cell < BYTES_PER_CELL
