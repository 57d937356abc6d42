"""Build what one rank trains with from its problem: factors, optimiser, validation and the trainer."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.config import TrainSection
from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost
from cofi_dist.cost.regulariser import Regulariser, count_scales
from cofi_dist.cost.sharded import ShardedCost
from cofi_dist.cost.sparse import SparseCost, build_item_blocks, build_rating_matrix, csr_of, unknown_pairs
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import Comm
from cofi_dist.factors import Factors
from cofi_dist.kernels.rating_matrix import RatingMatrix, triton_fault
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import Optimizer, run_all
from cofi_dist.optim.item_totals import ItemNumbers
from cofi_dist.optim.sampler import Sampler
from cofi_dist.optim.sharded_adam import ShardedAdam
from cofi_dist.optim.sharded_items import ShardedItems
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.training.draw import draw_factors
from cofi_dist.training.problem import Problem
from cofi_dist.training.trainer import Trainer
from cofi_dist.training.validation import Validation


def build_trainer(
    problem: Problem,
    shard: UserShard,
    comm: Comm,
    validation: Validation | None = None,
    factors: Factors | None = None,
) -> Trainer:
    """Return a trainer; it keeps the ratings, but not the shard.

    Args:
        problem: the problem to train on.
        shard: the ratings of this rank.
        comm: the ranks.
        validation: this rank's held-out ratings; None for no validation.
        factors: where it starts, and what it moves; None for drawn starting values.
    """
    factors = initial_factors(problem) if factors is None else factors
    return Trainer(
        factors=factors,
        optimizer=build_optimizer(problem, shard, factors),
        settings=problem.config.train,
        num_ratings=problem.num_ratings,
        comm=comm,
        reducer=problem.reducer,
        validation=validation,
        is_replicated=problem.item_shards is None,
    )


def initial_factors(problem: Problem) -> Factors:
    """Draw the starting values that `train.init` says and return this rank's rows."""
    return draw_factors(
        problem.source.num_items,
        problem.source.num_users,
        problem.config.model.num_features,
        seed=problem.config.seed,
        users=problem.users,
        items=problem.own_item_ranges,
        device=problem.device,
        dtype=problem.dtype,
        item_bias=problem.config.model.item_bias,
        user_bias=problem.config.model.user_bias,
        by_counter=problem.config.train.init == "counter",
    )


def build_optimizer(problem: Problem, shard: UserShard, factors: Factors) -> Optimizer:
    """Return the optimiser that the config asks for, with its cost on this rank's ratings."""
    settings, is_alone = problem.config.train, len(problem.ranges) == 1
    regulariser = build_regulariser(problem, factors)
    if problem.item_shards is not None:
        return _build_sharded(problem, shard, factors, regulariser)
    if settings.optimizer == "adam":
        return build_adam(build_cost(problem, shard), factors, regulariser, settings, is_alone=is_alone)
    is_exact, is_drawn = settings.solver == "exact", settings.average is not None
    ratings = _build_rating_matrix(problem, shard, tiled=not is_exact)
    halves = WholeItems.build(
        ratings,
        _copied(factors) if is_drawn else factors,
        regulariser,
        item_counts=torch.from_numpy(problem.item_sums.count),
        item_curvature=torch.from_numpy(problem.item_curvature),
        unknown=unknown_pairs(ratings, settings.unknown_weight),
        user_bias=problem.config.model.user_bias,
        steps=0 if is_exact else settings.cg_steps,
        owns_all_users=is_alone,
    )
    if is_drawn:
        return _build_sampler(problem, factors, halves)
    tolerance = settings.tolerance or 0.0
    return Als(halves, tolerance=tolerance, adds_shared_terms=problem.rank == 0)


def _copied(factors: Factors) -> Factors:
    return Factors(**{name: factor.clone() for name, factor in factors.by_name.items()})


def _build_sampler(problem: Problem, factors: Factors, halves: WholeItems) -> Sampler:
    """Return what draws by these halves, and averages the draws in the factors."""
    settings = problem.config.train
    assert settings.average is not None
    assert settings.noise is not None
    return Sampler(
        factors,
        halves,
        problem.users,
        noise=settings.noise,
        seed=problem.config.seed,
        skipped=settings.epochs - settings.average,
        adds_shared_terms=problem.rank == 0,
    )


def _build_sharded(
    problem: Problem, shard: UserShard, factors: Factors, regulariser: Regulariser
) -> Optimizer:
    """Return the optimiser for ranks that own some of the items."""
    settings = problem.config.train
    assert problem.item_shards is not None
    if settings.optimizer == "als":
        return _build_sharded_als(problem, shard, factors, regulariser)
    assert problem.item_pass is not None
    ratings = build_item_blocks(
        shard,
        problem.item_shards,
        problem.device,
        problem.dtype,
        unknown_weight=settings.unknown_weight,
    )
    cost = ShardedCost(
        ratings,
        problem.source.num_items,
        scale_of_all_items(problem, factors),
        unknown_pairs(ratings, settings.unknown_weight),
        user_bias=problem.config.model.user_bias,
    )
    fused = problem.device.type in ("cpu", "cuda")
    return ShardedAdam(cost, factors, regulariser, problem.item_pass, lr=settings.lr, fused=fused)


def _build_sharded_als(problem: Problem, shard: UserShard, factors: Factors, regulariser: Regulariser) -> Als:
    """Return ALS for ranks that own some of the items. Collective: all ranks call it."""
    settings = problem.config.train
    assert problem.item_pass is not None
    halves = ShardedItems.build(
        csr_of(shard, problem.dtype, settings.unknown_weight),
        shard.blocks,
        problem.item_pass,
        factors,
        regulariser,
        ItemNumbers(problem.item_sums.count, problem.item_curvature, scale_of_all_items(problem, factors)),
        unknown_weight=settings.unknown_weight,
        user_bias=problem.config.model.user_bias,
        steps=settings.cg_steps,
    )
    run_all(halves.batches.agree(), problem.reducer)
    return Als(halves, tolerance=settings.tolerance or 0.0, adds_shared_terms=problem.rank == 0)


def build_adam(
    cost: Cost, factors: Factors, regulariser: Regulariser, settings: TrainSection, *, is_alone: bool
) -> Adam:
    """Return Adam, as fast as the cost and the device allow.

    Args:
        cost: computes the error term on this rank's ratings.
        factors: are moved in place.
        regulariser: the second term of J.
        settings: `lr` and `cost` are read.
        is_alone: whether this is the only rank.
    """
    device = factors.X.device.type
    # The dense cost promises the notebook's bits, so it takes torch's default kernels.
    fused = settings.cost == "sparse" and device in ("cpu", "cuda")
    record = fused and device == "cuda" and is_alone
    return Adam(cost, factors, regulariser, lr=settings.lr, fused=fused, record=record)


def build_cost(problem: Problem, shard: UserShard) -> Cost:
    """Return the error term on this rank's ratings and unknown pairs."""
    settings, user_bias = problem.config.train, problem.config.model.user_bias
    if settings.cost == "dense":
        return DenseCost(shard, problem.device, settings.unknown_weight, user_bias=user_bias)
    ratings = _build_rating_matrix(problem, shard, tiled=True)
    return SparseCost(ratings, unknown_pairs(ratings, settings.unknown_weight), user_bias=user_bias)


def _build_rating_matrix(problem: Problem, shard: UserShard, *, tiled: bool) -> RatingMatrix:
    unknown_weight = problem.config.train.unknown_weight
    return build_rating_matrix(
        shard, problem.device, problem.dtype, unknown_weight=unknown_weight, tiled=tiled
    )


def build_regulariser(problem: Problem, factors: Factors) -> Regulariser:
    """Return the regulariser, scaled by the numbers of ratings if the config says so."""
    settings, (item_counts, user_counts) = problem.config.train, _weighing_counts(problem)
    scales = count_scales(settings.lambda_power, problem.own_items(item_counts), user_counts, factors)
    return Regulariser(settings.lambda_, settings.lambda_b, *scales)


def scale_of_all_items(problem: Problem, factors: Factors) -> Tensor | None:
    """Return the regulariser's scale of each item of all ranks, (num_items,); None if all are 1."""
    scale_X, _ = count_scales(problem.config.train.lambda_power, *_weighing_counts(problem), factors)
    return None if scale_X is None else scale_X[:, 0]


def _weighing_counts(problem: Problem) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the number of ratings of all items and of this rank's users, and of their unknown pairs.

    An unknown pair counts as far as it has weight.
    """
    a0, source = problem.config.train.unknown_weight, problem.source
    return problem.item_sums.count + a0 * source.num_users, problem.user_counts + a0 * source.num_items


def describe_computation(problem: Problem) -> str:
    """Return a line for the log that says how J is minimised on this device."""
    settings, device = problem.config.train, problem.device.type
    if settings.optimizer == "als":
        exact = settings.solver == "exact"
        how = "exact" if exact else f"{settings.cg_steps} steps per half-sweep"
        if settings.average is not None:
            how += f", drawn with noise {settings.noise:g}; the last {settings.average} sweeps are averaged"
        return f"als: {how}"
    if settings.cost == "dense":
        return "dense cost"
    if device == "cuda" and (fault := triton_fault()):
        return f"sparse cost: torch's operations, which are slower ({fault})"
    how = {"cpu": "compiled loops", "cuda": "Triton's kernels"}.get(device, "torch's operations")
    return f"sparse cost: {how}"


def order_fault(device: torch.device) -> str:
    """Return why the order of sums cannot be fixed on a device; "" if it can."""
    if device.type == "cuda" and (fault := triton_fault()):
        return f"needs Triton on CUDA ({fault})"
    return "" if device.type in ("cpu", "cuda") else f"is for the CPU and CUDA, not for {device.type}"


def notes_on_cost(problem: Problem) -> list[str]:
    """Return lines for the log about a cost that teaches nothing."""
    settings = problem.config.train
    if settings.alpha is None or settings.unknown_weight:
        return []
    return [
        "train.unknown_weight is 0: a score of 1 for every pair fits all events, so nothing is learnt of who"
        " likes what; set it to 0.1 to 1"
    ]
