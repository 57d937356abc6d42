"""Solve for new users or new items of a model from the factors that it has, before the first step.

A row starts at 0, takes `most_steps` steps of conjugate gradients, and stops by itself once its residual
consists of rounding errors. Both functions minimise J over the rows that they are given, and change nothing
else.
"""

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RidgeTerm, accumulation_dtype
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.optim.base import PendingSum
from cofi_dist.optim.half_sweep import solve_items, solve_users


def most_steps(num_features: int) -> int:
    """Return the number of steps after which a row of K features and a bias is solved.

    Without rounding, K + 1 steps solve it exactly.
    """
    return num_features + 1


def solve_new_users(
    ratings: RatingMatrix,
    factors: Factors,
    *,
    weight: Tensor,
    weight_b: float,
    item_curvature: Tensor,
    unknown: UnknownPairs | None,
    user_bias: bool,
) -> Iterator[PendingSum]:
    """Solve for new users of this rank from the items that are known; nothing has to be summed.

    Args:
        ratings: the ratings of the new users on the known items.
        factors: W and b of the new users, which are zeros and move; X and c of the known items.
        weight: regularisation of each row of W, (U,).
        weight_b: regularisation of the biases.
        item_curvature: the `RidgeTerm.curvature` of the known items.
        unknown: the unknown pairs of the new users and the known items; None if they have no weight.
        user_bias: whether b is solved for; else it stays 0.
    """
    ridge = RidgeTerm(
        weight=weight,
        weight_b=weight_b,
        has_bias=user_bias,
        counts=ratings.by_user.counts,
        curvature=ratings.by_user.curvature.clamp(min=0),
        total_curvature=_total(item_curvature),
    )
    steps = most_steps(factors.X.shape[1])
    yield from solve_users(
        ratings, factors, ridge, item_curvature=item_curvature, unknown=unknown, steps=steps
    )


def solve_new_items(
    ratings: RatingMatrix,
    factors: Factors,
    *,
    weight: Tensor,
    weight_b: float,
    item_counts: Tensor,
    item_curvature: Tensor,
    unknown: UnknownPairs | None,
    owns_all_users: bool,
) -> Iterator[PendingSum]:
    """Solve for new items from all users, on all ranks alike.

    Args:
        ratings: the ratings of this rank's users on the new items.
        factors: X and c of the new items, which are zeros and move; W and b of this rank's users.
        weight: regularisation of each row of X, (M,).
        weight_b: regularisation of the biases.
        item_counts: training ratings of each new item over all ranks, (M,).
        item_curvature: the `RidgeTerm.curvature` of the new items.
        unknown: the unknown pairs of all users and the new items; None if they have no weight.
        owns_all_users: whether all users are on this rank.
    """
    ridge = RidgeTerm(
        weight=weight,
        weight_b=weight_b,
        has_bias=factors.c is not None,
        counts=item_counts,
        curvature=item_curvature,
        total_curvature=_total(item_curvature),
    )
    if unknown is not None:
        gram_W = ratings.sums.sum_subtrees(unknown.gram_of_users(factors))
        yield PendingSum(gram_W)
        ridge = replace(ridge, gram=unknown.scaled(gram_W[0], factors))
    yield from solve_items(
        ratings,
        factors,
        ridge,
        user_curvature=ratings.by_user.curvature.clamp(min=0),
        steps=most_steps(factors.X.shape[1]),
        is_local=owns_all_users,
    )


def _total(curvature: Tensor) -> float:
    return max(1.0, float(curvature.sum(dtype=accumulation_dtype(curvature))))
