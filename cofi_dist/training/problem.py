"""What one rank works on: its ratings, its cost, its held-out ratings; and the model that comes of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cofi_dist.config import Config
from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.regulariser import Regulariser, count_scales
from cofi_dist.data.ids import digests
from cofi_dist.data.item_means import ItemSums, centres, item_sums
from cofi_dist.data.shard import Spread, UserRange, UserShard, ratings_of
from cofi_dist.data.sources.open import Source, open_source
from cofi_dist.distributed import Comm, OrderedSums, SoloComm, Sums
from cofi_dist.factors import Factors, draw_factors
from cofi_dist.kernels.base import triton_fault
from cofi_dist.kernels.rating_matrix import RatingMatrix, SparseCost
from cofi_dist.model import Facts, Model
from cofi_dist.optim.als import Als
from cofi_dist.training.validation import Validation


@dataclass(frozen=True)
class Problem:
    """What one rank works on.

    Attributes:
        per_user: ratings of every user of every rank, (num_users,).
        spread: every rank's users, and in which blocks they are summed.
        rank: this one.
        counts: training ratings of each of them, (U,).
        sums: of the training ratings of all ranks, by item.
        means: what was removed, (num_items,).
        fingerprint: of the source.
        ids: digests of its id maps.
        total: sums over all users.
    """

    config: Config
    device: torch.device
    source: Source
    per_user: NDArray[np.int64]
    spread: Spread
    rank: int
    counts: NDArray[np.int64]
    sums: ItemSums
    means: NDArray[np.float64]
    fingerprint: str
    ids: dict[str, str]
    total: Sums

    @property
    def ranges(self) -> Sequence[UserRange]:
        """Every rank's users."""
        return self.spread.ranges

    @property
    def users(self) -> UserRange:
        """This rank's."""
        return self.ranges[self.rank]

    @property
    def dtype(self) -> torch.dtype:
        """Of the factors; mps has no float64."""
        return (
            torch.float64
            if self.config.train.dtype == "float64" and self.device.type != "mps"
            else torch.float32
        )

    @property
    def num_ratings(self) -> int:
        """For training, of all ranks."""
        return int(self.sums.count.sum())


def load_problem(config: Config, store: Path, device: torch.device, comm: Comm) -> tuple[Problem, UserShard]:
    """Open the source, and load this rank's training ratings; the cost is made of them, then they may go.

    Collective: all ranks call it.

    Args:
        config: of the run.
        store: where a ratings file was prepared.
        device: of this rank.
        comm: the ranks.

    Raises:
        CofiError: the data can't be used.
    """
    source = open_source(config.data, store)
    num_items, per_user = source.num_items, source.ratings_per_user()
    seen: list[int | str] = [source.num_users, num_items, hashlib.sha256(per_user.tobytes()).hexdigest()]
    comm.require_same(seen, "what is read of the ratings")
    spread, total = _spread(config, per_user, comm)
    users, blocks = spread.ranges[comm.rank], spread.blocks_of(comm.rank)
    ratings = source.load(users)
    sums = source.sums or item_sums(ratings, num_items, total, blocks)
    centre, damping = (config.data.centre, config.data.damping) if config.data.centre else source.centre
    means = centres(sums, centre, damping)
    shard = UserShard(users, num_items, ratings, means, blocks)
    fingerprint, ids = comm.on_first(source.fingerprint), comm.on_first(lambda: digests(source.ids))
    counts = shard.ratings_per_user()
    given = config, device, source, per_user, spread, comm.rank, counts, sums, means, fingerprint, ids, total
    return Problem(*given), shard


def _spread(config: Config, per_user: NDArray[np.int64], comm: Comm) -> tuple[Spread, Sums]:
    """Who has which users, and how what they add up to is put together."""
    blocks = config.train.blocks
    if blocks is None:
        return Spread.of(per_user, comm.world_size, None), comm
    spread = Spread.of(per_user, comm.world_size, blocks)
    return spread, comm if isinstance(comm, SoloComm) else OrderedSums(comm, spread.branches)


def describe_shards(problem: Problem, comm: Comm) -> dict[str, Any]:
    """How the run is spread; held-out ratings are counted, as in the table of shards."""
    ratings = ratings_of(problem.ranges, problem.per_user)
    return {
        "world_size": comm.world_size,
        "device": problem.device.type,
        "backend": comm.backend(problem.device),
        "ranks": [
            {"start": users.start, "stop": users.stop, "ratings": count}
            for users, count in zip(problem.ranges, ratings, strict=True)
        ],
    }


def build_validation(problem: Problem) -> Validation | None:
    """This rank's held-out ratings, where the config asks for validation."""
    settings, source = problem.config.validation, problem.source
    if settings.every is None:
        return None
    return Validation(
        source.load(problem.users, "validation"),
        problem.means,
        source.scale,
        problem.device,
        problem.spread.blocks_of(problem.rank),
        every=settings.every,
        patience=settings.patience,
    )


def initial_factors(problem: Problem) -> Factors:
    """This rank's rows of the notebook's draw."""
    return draw_factors(
        problem.source.num_items,
        problem.source.num_users,
        problem.config.model.num_features,
        seed=problem.config.seed,
        users=problem.users,
        device=problem.device,
        dtype=problem.dtype,
        item_bias=problem.config.model.item_bias,
    )


def build_regulariser(problem: Problem, factors: Factors) -> Regulariser:
    """Lambda, by the numbers of ratings where the config says so."""
    train = problem.config.train
    scales = count_scales(train.lambda_power, problem.sums.count, problem.counts, factors)
    return Regulariser(train.lambda_, train.lambda_b, *scales)


def build_cost(problem: Problem, shard: UserShard) -> tuple[Cost | RatingMatrix, str]:
    """The error term on this rank's ratings, and a line on how it is computed."""
    config, device = problem.config, problem.device
    if config.train.optimizer == "als":
        exact = config.train.solver == "exact"
        how = "exact" if exact else f"{config.train.cg_steps} steps a half-sweep"
        return RatingMatrix(shard, device, problem.dtype, tiled=not exact), f"als: {how}"
    if config.train.cost == "dense":
        return DenseCost(shard, device), "dense cost"
    how = {"cpu": "compiled loops", "cuda": "Triton's kernels"}.get(device.type, "torch's operations")
    if device.type == "cuda" and (fault := triton_fault()):
        how = f"torch's operations, which are slower ({fault})"
    return SparseCost(RatingMatrix(shard, device, problem.dtype)), f"sparse cost: {how}"


def build_optimizer(
    problem: Problem, cost: Cost | RatingMatrix, factors: Factors, regulariser: Regulariser
) -> Als | None:
    """What moves the factors; None for Adam."""
    if not isinstance(cost, RatingMatrix):
        return None
    return Als(
        cost,
        factors,
        regulariser,
        item_counts=torch.from_numpy(problem.sums.count),
        steps=0 if problem.config.train.solver == "exact" else problem.config.train.cg_steps,
        tolerance=problem.config.train.tolerance or 0.0,
        alone=len(problem.ranges) == 1,
        leads=problem.rank == 0,
    )


def gather_model(problem: Problem, factors: Factors, comm: Comm, diverged: str) -> Model:
    """The whole model on rank 0; on the others, their own rows of it."""
    counts = [len(users) for users in problem.ranges]
    W = comm.gather_rows(factors.W, counts)
    b = comm.gather_rows(factors.b[0], counts)[None]
    user_counts = comm.gather_rows(torch.from_numpy(problem.counts.astype(np.float64)), counts)
    source, sums = problem.source, problem.sums
    c = None if factors.c is None else factors.c.cpu()
    return Model(
        Factors(factors.X.cpu(), W, b, c),
        torch.from_numpy(problem.means),
        torch.from_numpy(sums.count),
        user_counts,
        Facts(sums.global_mean, *source.scale, problem.fingerprint, source.columns, diverged),
        *source.ids,
        problem.config.with_absolute_paths(),
    )
