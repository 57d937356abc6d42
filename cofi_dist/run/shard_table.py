"""Describe how a run is spread over the ranks: the table that it prints, and shards.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Config
from cofi_dist.distributed.comm import Comm
from cofi_dist.sharding.ranges import UserRange, ratings_per_range
from cofi_dist.sharding.share import Share
from cofi_dist.training.memory_plan import plan_memory
from cofi_dist.training.problem import Problem

MAX_ROWS = 16


def shard_table(
    ranges: Sequence[UserRange], per_user: NDArray[np.int64], num_items: int, config: Config, device: str
) -> list[str]:
    """Return lines with the users, ratings or events, bytes and load of each rank.

    The load is the number of ratings or events, divided by the mean over the ranks. The bytes are what the
    rank is planned to take, beside the process itself. If there are more than MAX_ROWS ranks, only the first
    ones and the fullest one are shown.
    """
    ratings = ratings_per_range(ranges, per_user)
    mean = sum(ratings) / len(ratings)
    fullest = int(np.argmax(ratings))
    shown = list(range(len(ranges)))
    if len(ranges) > MAX_ROWS:
        shown = sorted({*range(MAX_ROWS - 1), fullest})
    noun = "events" if config.data.feedback == "implicit" else "ratings"
    lines = [f"rank      users {noun:>13}       bytes    load"]
    plans = {
        rank: plan_memory(config, Share.of_rank(ranges, ratings, num_items, rank), device) for rank in shown
    }
    for rank, plan in plans.items():
        size = _size(plan.of_data)
        lines.append(
            f"{rank:4} {len(ranges[rank]):10,} {ratings[rank]:13,} {size:>11} {ratings[rank] / mean:7.2f}"
        )
    if len(shown) < len(ranges):
        lines.append(f"... and {len(ranges) - len(shown)} more")
    items = _size(plans[fullest].items)
    lines.append(
        f"imbalance {ratings[fullest] / mean:.2f}; X and what belongs to it take {items} on each rank"
    )
    return lines


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def describe_shards(problem: Problem, comm: Comm) -> dict[str, Any]:
    """Return the content of shards.json; ratings include the held-out ones, as in the table."""
    ratings = ratings_per_range(problem.ranges, problem.ratings_per_user)
    return {
        "world_size": comm.world_size,
        "num_items": problem.source.num_items,
        **_describe_items(problem),
        "device": problem.device.type,
        "backend": comm.backend(problem.device),
        "ranks": [
            {"start": users.start, "stop": users.stop, "ratings": count}
            for users, count in zip(problem.ranges, ratings, strict=True)
        ],
    }


def _describe_items(problem: Problem) -> dict[str, Any]:
    """Return what shards.json says of sharded items: those of a block, and how many each rank owns."""
    shards = problem.item_shards
    if shards is None:
        return {}
    owned = [sum(map(len, shards.owned(rank))) for rank in range(shards.world_size)]
    return {"item_block": shards.block_items, "owned_items": owned}
