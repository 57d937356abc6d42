"""What a rank trains with, made from its problem: factors, cost, regulariser, validation, optimiser."""

import torch

from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.regulariser import Regulariser, count_scales
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors, draw_factors
from cofi_dist.kernels.rating_matrix import RatingMatrix, triton_fault
from cofi_dist.optim.als import Als
from cofi_dist.training.problem import Problem
from cofi_dist.training.validation import Validation


def build_validation(problem: Problem) -> Validation | None:
    """This rank's held-out ratings, where the config asks for validation."""
    settings, source = problem.config.validation, problem.source
    if settings.every is None:
        return None
    return Validation(
        source.load(problem.users, "validation"),
        problem.item_offsets,
        source.scale,
        problem.device,
        problem.partition.local_blocks(problem.rank),
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
    scales = count_scales(train.lambda_power, problem.item_sums.count, problem.user_counts, factors)
    return Regulariser(train.lambda_, train.lambda_b, *scales)


def build_cost(problem: Problem, shard: UserShard) -> tuple[Cost | RatingMatrix, str]:
    """The error term on this rank's ratings, and a line on how it is computed."""
    config, device = problem.config, problem.device
    if config.train.optimizer == "als":
        exact = config.train.solver == "exact"
        how = "exact" if exact else f"{config.train.cg_steps} steps a half-sweep"
        return build_rating_matrix(shard, device, problem.dtype, tiled=not exact), f"als: {how}"
    if config.train.cost == "dense":
        return DenseCost(shard, device), "dense cost"
    how = {"cpu": "compiled loops", "cuda": "Triton's kernels"}.get(device.type, "torch's operations")
    if device.type == "cuda" and (fault := triton_fault()):
        how = f"torch's operations, which are slower ({fault})"
    return SparseCost(build_rating_matrix(shard, device, problem.dtype)), f"sparse cost: {how}"


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
        item_counts=torch.from_numpy(problem.item_sums.count),
        steps=0 if problem.config.train.solver == "exact" else problem.config.train.cg_steps,
        tolerance=problem.config.train.tolerance or 0.0,
        alone=len(problem.ranges) == 1,
        leads=problem.rank == 0,
    )
