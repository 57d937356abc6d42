"""The planned memory is what processes were seen to take, and what is true of any problem."""

import ctypes
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import Config
from cofi_dist.distributed.comm import Comm
from cofi_dist.run.log import NullLog
from cofi_dist.sharding.share import Share
from cofi_dist.testing import run_ranks
from cofi_dist.training.build import build_trainer
from cofi_dist.training.memory_plan import plan_memory
from cofi_dist.training.problem import load_problem
from cofi_dist.training.state import State

MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of mallopt(3)
USERS, ITEMS, RATINGS, FEATURES = 20_000, 200_000, 600_000, 64


def config_of(users: int, num_items: int, ratings: int, features: int, **train: Any) -> Config:
    shape = {"num_users": users, "num_items": num_items, "num_ratings": ratings}
    return Config.model_validate(
        {
            "data": {"synthetic": shape},
            "model": {"num_features": features},
            "train": {"epochs": 2, "log_every": 2, **train},
            "run_dir": "none",
        }
    )


class Silent(NullLog):
    def after_step(self, state: State) -> None:
        gc.collect()  # what the step allocated may be in a cycle

    def finish(self, state: State) -> None: ...


def now(key: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def growth_of(comm: Comm, config: Config) -> int:
    """By how much this rank's memory grew at most while it trained."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier trainings held is given back
    Path("/proc/self/clear_refs").write_text("5")  # the peak now is what is held now, see proc(5)
    before = now("VmRSS")
    problem, shard = load_problem(config, Path("none"), torch.device("cpu"), comm)
    trainer = build_trainer(problem, shard, comm)
    del shard
    trainer.run(Silent(), Silent())
    return now("VmHWM") - before


def growths(comm: Comm, trains: list[dict[str, Any]]) -> list[int]:
    """Those of the trainings, after tiny ones, which load what any training needs."""
    ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, 2**20)  # else some of what is freed stays, now more, now less
    for train in trains:
        growth_of(comm, config_of(50, 40, 500, FEATURES, **train))
    return [growth_of(comm, config_of(USERS, ITEMS, RATINGS, FEATURES, **train)) for train in trains]


def can_be_measured() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return hasattr(ctypes.CDLL(None), "malloc_trim")


@pytest.mark.skipif(not can_be_measured(), reason="this system does not reset a process's peak of memory")
def test_two_ranks_take_what_was_planned(tmp_path: Path) -> None:
    """Within 10 % of the whole process; of the two ranks, that counts which kept less of what it freed."""
    trains = [
        {"optimizer": optimizer, "items": items}
        for optimizer in ("adam", "als")
        for items in ("replicated", "sharded")
    ]
    share = Share.even(USERS, ITEMS, RATINGS, 2)
    ranks = run_ranks(2, growths, trains, tmp=tmp_path)
    for train, *seen in zip(trains, *ranks, strict=True):
        plan = plan_memory(config_of(USERS, ITEMS, RATINGS, FEATURES, **train), share)
        assert abs(plan.of_data - min(seen)) <= plan.peak / 10, f"{train}: {plan}, but {seen}"


COUNTS = st.integers(1, 10**9)
TRAINS = st.sampled_from(
    [
        {},
        {"optimizer": "als"},
        {"reduction": "invariant", "blocks": 64},
        {"cost": "dense"},
        {"dtype": "float64"},
    ]
)


@given(
    st.tuples(COUNTS, COUNTS, COUNTS),
    st.sampled_from([1, 2, 3, 64]),
    TRAINS,
    st.sampled_from(["cpu", "cuda"]),
)
def test_more_of_anything_takes_more(
    counts: tuple[int, int, int], world_size: int, train: dict[str, Any], device: str
) -> None:
    config = config_of(10, 10, 50, FEATURES, **train)

    def bytes_of(users: int, items: int, ratings: int) -> int:
        # not the peak: large models are not gathered to be saved
        return plan_memory(config, Share.even(users, items, ratings, world_size), device).held

    users, items, ratings = counts
    least = bytes_of(*counts)
    for more in ((2 * users, items, ratings), (users, 2 * items, ratings), (users, items, 2 * ratings)):
        assert bytes_of(*more) >= least


def test_a_mean_of_draws_takes_both_sides_twice_as_wide_in_float64() -> None:
    share = Share(ratings=RATINGS, users=USERS, num_users=USERS, num_items=ITEMS)
    solved, drawn = (
        plan_memory(
            config_of(USERS, ITEMS, RATINGS, FEATURES, optimizer="als", solver="exact", **given), share
        )
        for given in ({}, {"average": 1})
    )
    assert drawn.epoch - solved.epoch > 2 * FEATURES * 8 * (USERS + ITEMS)
    assert drawn.held == solved.held
