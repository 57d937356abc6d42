"""Solve for the users and items that a model to start from does not know, before the first step.

New users come first: each is solved for from its ratings of the known items. Then new items are solved for
from the ratings of all users. A new user without ratings of known items, and an item without training
ratings, keep their random start. U users of this rank, M items.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import build_rating_matrix, unknown_pairs
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.optim.base import Step, run_step
from cofi_dist.optim.new_rows import solve_new_items, solve_new_users
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks
from cofi_dist.training.build import build_regulariser
from cofi_dist.training.problem import Problem


@dataclass(frozen=True)
class SolvedRows:
    """Say which rows were solved for.

    Attributes:
        users: of this rank's users, (U,) bool.
        items: (M,) bool.
    """

    users: NDArray[np.bool_]
    items: NDArray[np.bool_]


def solve_new_rows(
    problem: Problem,
    shard: UserShard,
    factors: Factors,
    is_known_user: NDArray[np.bool_],
    is_known_item: NDArray[np.bool_],
) -> SolvedRows:
    """Move the factors of new users, then those of new items, to where J is lowest.

    Collective: all ranks call it. The rows that are known stay as they are, bit for bit.

    Args:
        problem: the problem to train on.
        shard: the ratings of this rank.
        factors: this rank's factors; moved in place.
        is_known_user: whether a user's row is known, (U,).
        is_known_item: whether an item's row is known, (M,), the same on every rank.
    """
    regulariser = build_regulariser(problem, factors)
    of_known_item = is_known_item[shard.ratings.item]
    known_ratings = np.bincount(shard.ratings.user[of_known_item], minlength=len(is_known_user))
    new_users = ~is_known_user & (known_ratings > 0)
    if new_users.any():
        ratings = shard.ratings.masked(of_known_item & new_users[shard.ratings.user])
        _solve_users(problem, ratings, factors, regulariser, new_users, is_known_item)
    new_items = ~is_known_item & (problem.item_sums.count > 0)
    if new_items.any():
        _solve_items(problem, shard, factors, regulariser, new_items)
    return SolvedRows(new_users, new_items)


def _solve_users(
    problem: Problem,
    ratings: Ratings,
    factors: Factors,
    regulariser: Regulariser,
    new_users: NDArray[np.bool_],
    is_known_item: NDArray[np.bool_],
) -> None:
    """Solve for the new users from their ratings of known items."""
    users, items = _rows(new_users, factors), _rows(is_known_item, factors)
    part = UserShard(
        UserRange(0, len(users)),
        len(items),
        _renumbered(ratings, new_users, is_known_item),
        ReductionBlocks.single(len(users), fixes_order=problem.partition.fixes_order),
        problem.item_offsets[is_known_item],
        problem.config.train.alpha,
    )
    of_part = Factors(
        factors.X[items],
        torch.zeros_like(factors.W[users]),
        torch.zeros_like(factors.b[:, users]),
        None if factors.c is None else factors.c[:, items],
    )
    matrix = _rating_matrix(problem, part)
    solving = solve_new_users(
        matrix,
        of_part,
        weight=regulariser.row_weights("W", factors.W)[users],
        weight_b=regulariser.weight("b"),
        item_curvature=_item_curvature(problem, is_known_item, factors),
        unknown=unknown_pairs(matrix, problem.config.train.unknown_weight),
        user_bias=problem.config.model.user_bias,
    )
    run_step(Step(None, solving), problem.reducer)
    factors.W[users], factors.b[:, users] = of_part.W, of_part.b


def _solve_items(
    problem: Problem,
    shard: UserShard,
    factors: Factors,
    regulariser: Regulariser,
    new_items: NDArray[np.bool_],
) -> None:
    """Solve for the new items from the ratings of all users."""
    items = _rows(new_items, factors)
    all_users = np.ones(len(shard.users), bool)
    ratings = shard.ratings.masked(new_items[shard.ratings.item])
    part = UserShard(
        shard.users,
        len(items),
        _renumbered(ratings, all_users, new_items),
        shard.blocks,
        problem.item_offsets[new_items],
        problem.config.train.alpha,
    )
    of_part = Factors(
        torch.zeros_like(factors.X[items]),
        factors.W,
        factors.b,
        None if factors.c is None else torch.zeros_like(factors.c[:, items]),
    )
    matrix = _rating_matrix(problem, part)
    solving = solve_new_items(
        matrix,
        of_part,
        weight=regulariser.row_weights("X", factors.X)[items],
        weight_b=regulariser.weight("c"),
        item_counts=torch.from_numpy(problem.item_sums.count[new_items]).to(factors.X),
        item_curvature=_item_curvature(problem, new_items, factors),
        unknown=unknown_pairs(matrix, problem.config.train.unknown_weight),
        owns_all_users=len(problem.ranges) == 1,
    )
    run_step(Step(None, solving), problem.reducer)
    factors.X[items] = of_part.X
    if factors.c is not None and of_part.c is not None:
        factors.c[:, items] = of_part.c


def _rating_matrix(problem: Problem, part: UserShard) -> RatingMatrix:
    unknown_weight = problem.config.train.unknown_weight
    return build_rating_matrix(part, problem.device, problem.dtype, unknown_weight=unknown_weight)


def _item_curvature(problem: Problem, chosen: NDArray[np.bool_], factors: Factors) -> Tensor:
    return torch.from_numpy(problem.item_curvature[chosen]).clamp(min=0).to(factors.X)


def _rows(chosen: NDArray[np.bool_], factors: Factors) -> Tensor:
    return torch.from_numpy(np.flatnonzero(chosen)).to(factors.X.device)


def _renumbered(ratings: Ratings, users: NDArray[np.bool_], items: NDArray[np.bool_]) -> Ratings:
    """Return ratings of chosen users on chosen items, with the chosen rows numbered without gaps."""
    user, item = (
        (np.cumsum(chosen, dtype=np.int32) - 1)[row]
        for chosen, row in ((users, ratings.user), (items, ratings.item))
    )
    return Ratings(user, item, ratings.value, ratings.weight)
