"""How a run is spread over the ranks: the table that it prints as it starts, and shards.json."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Config
from cofi_dist.distributed.comm import Comm
from cofi_dist.sharding.ranges import UserRange, ratings_per_range
from cofi_dist.training.problem import Problem

MOST_ROWS = 16


def shard_table(
    ranges: Sequence[UserRange], per_user: NDArray[np.int64], num_items: int, config: Config
) -> list[str]:
    """Users, ratings, bytes and load (ratings against the mean) of every rank, in lines.

    Bytes are of what the rank holds for its own users: ratings, W, b and their Adam moments. Of
    more than MOST_ROWS ranks, the first few and the fullest are shown.
    """
    ratings = ratings_per_range(ranges, per_user)
    mean = sum(ratings) / len(ratings)
    fullest = int(np.argmax(ratings))
    shown = list(range(len(ranges)))
    if len(ranges) > MOST_ROWS:
        shown = sorted({*range(MOST_ROWS - 1), fullest})
    lines = ["rank      users       ratings       bytes    load"]
    for rank in shown:
        size = _size(_bytes(len(ranges[rank]), ratings[rank], num_items, config))
        lines.append(
            f"{rank:4} {len(ranges[rank]):10,} {ratings[rank]:13,} {size:>11} {ratings[rank] / mean:7.2f}"
        )
    if len(shown) < len(ranges):
        lines.append(f"... and {len(ranges) - len(shown)} more")
    replica = _size(3 * num_items * config.model.num_features * _itemsize(config))
    lines.append(f"imbalance {ratings[fullest] / mean:.2f}; X with its moments is {replica} on every rank")
    return lines


def _bytes(users: int, ratings: int, num_items: int, config: Config) -> int:
    width = _itemsize(config)
    own = 3 * users * (config.model.num_features + 1) * width
    if config.train.cost == "dense":
        return own + 16 * users * num_items  # Y and R in float64
    return own + (16 + width) * ratings  # two orders of int32 indices, and the value


def _itemsize(config: Config) -> int:
    return np.dtype(config.train.dtype).itemsize


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def describe_shards(problem: Problem, comm: Comm) -> dict[str, Any]:
    """How the run is spread; held-out ratings are counted, as in the table of shards."""
    ratings = ratings_per_range(problem.ranges, problem.ratings_per_user)
    return {
        "world_size": comm.world_size,
        "num_items": problem.source.num_items,
        "device": problem.device.type,
        "backend": comm.backend(problem.device),
        "ranks": [
            {"start": users.start, "stop": users.stop, "ratings": count}
            for users, count in zip(problem.ranges, ratings, strict=True)
        ],
    }
