"""The compiled loops round alike, however often they were optimised, and for whatever width of vectors."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# 13 numbers are one vector in float32, 20 are three in float64; every loop is used
SUMS = """
import hashlib
import numpy as np
import torch
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix, half_squared_error
from cofi_dist.kernels.cpu import schedule
from cofi_dist.data.shard import UserShard
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.als import Als
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.optim.base import run_step
from tests.support.problems import random_factors, random_ratings

torch.set_num_threads(1)
digest = hashlib.sha256()
for K, dtype in ((13, torch.float32), (20, torch.float64)):
    ratings = random_ratings(60, 50, 1500)
    counts = torch.from_numpy(np.bincount(ratings.item, minlength=50))
    for tile in (2**20, 200):
        schedule.TILE_RATINGS = tile
        shard = UserShard.single_block(UserRange(0, 60), 50, ratings)
        cost = build_rating_matrix(shard, torch.device("cpu"), dtype)
        factors = random_factors(50, 60, K, dtype, item_bias=True)
        given = {"item_counts": counts, "steps": 3, "owns_all_users": True}
        als = Als(WholeItems.build(cost, factors, Regulariser(1.3), **given), tolerance=0.0)
        adam = Adam(SparseCost(cost), factors, Regulariser(1.3), lr=0.01, fused=True)
        for _ in range(4):
            run_step(als.prepare_step(), SoloComm())
            run_step(adam.prepare_step(), SoloComm())
        digest.update(repr((als.J, half_squared_error(cost, factors).tolist())).encode())
        for tensor in factors.by_name.values():
            digest.update(tensor.numpy().tobytes())
print(digest.hexdigest())
"""


def bits(cache: Path, **env: str) -> str:
    """Of all loops, compiled into or loaded from the cache."""
    given = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT), **env}
    done = subprocess.run(
        [sys.executable, "-c", SUMS], env=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_compiled_or_loaded_and_of_any_width_the_bits_are_the_same(tmp_path: Path) -> None:
    compiled = bits(tmp_path / "own")
    assert bits(tmp_path / "own") == compiled, "from the cache"
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() == "x86_64" and cpuinfo.exists() and " avx2 " in cpuinfo.read_text():
        narrow = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
        assert bits(tmp_path / "narrow", **narrow) == compiled, "vectors of 256 bits"


# prints whether the loops' sums over rows of so many numbers are those of the formula
RIGHT = """
import sys
import torch
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix, half_squared_error
from cofi_dist.data.shard import UserShard
from cofi_dist.sharding.ranges import UserRange
from tests.support.problems import error_term_reference, random_factors, random_ratings

ratings = random_ratings(9, 7, 30)
for K in map(int, sys.argv[1:]):
    shard = UserShard.single_block(UserRange(0, 9), 7, ratings)
    rows = build_rating_matrix(shard, torch.device("cpu"), torch.float64)
    factors = random_factors(7, 9, K, torch.float64)
    got, (_, dX, dW, _) = SparseCost(rows)(factors, with_cost=True), error_term_reference(factors, ratings)
    print(*(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in ((got.dX[0], dX), (got.dW, dW))))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_loops_cached_by_several_processes_are_right_in_one(tmp_path: Path) -> None:
    """Each process of a run of its own number of features; then one that has both."""

    def run(*features: str) -> list[str]:
        env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", RIGHT, *features]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return [*done.stdout.splitlines(), *done.stderr.splitlines()[-1:]]

    right = "True True"
    for features in ("5", "50", "90"):  # the latter two compile nothing but what is of their own
        assert run(features) == [right]
    assert run("50", "90") == [right, right]
