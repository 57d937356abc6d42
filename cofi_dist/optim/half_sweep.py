"""Solve for the rows of one side, users or items, while the other side is fixed.

For fixed X and c, J falls apart into one least-squares problem per user, for w_j and b_j. For fixed W and b,
it falls apart into one per item, for x_i and c_i. Users' problems are complete on the rank that owns them.
Items' problems are sums over all users. T subtrees of this rank's users
(`cofi_dist.sharding.reduction_tree`).
"""

from collections.abc import Generator
from dataclasses import replace

from torch import Tensor

from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RatingKernels, RidgeTerm, Side
from cofi_dist.kernels.block_sums import ordered_sum
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.optim.base import PendingSum, Solution, Solved
from cofi_dist.optim.cholesky import solve_by_cholesky


def solve_users(
    ratings: RatingMatrix,
    factors: Factors,
    ridge: RidgeTerm,
    *,
    item_curvature: Tensor,
    unknown: UnknownPairs | None,
    steps: int,
) -> Generator[PendingSum, None, tuple[Solution, Tensor | None]]:
    """Solve for W and b, in place; nothing has to be summed over the ranks.

    Args:
        ratings: this rank's ratings.
        factors: W and b of this rank's users move.
        ridge: of the users, without a Gram matrix.
        item_curvature: the `RidgeTerm.curvature` of the items, (num_items,).
        unknown: the unknown pairs; None if they have no weight.
        steps: of conjugate gradients; 0 to solve exactly.

    Returns:
        The solution, and G_X if there are unknown pairs.
    """
    squares = ratings.sums.column_squares_over_items(factors.X, item_curvature)[None]
    gram_X = None
    if unknown is not None:
        gram_X = unknown.gram_of_items(factors)
        ridge = replace(ridge, gram=unknown.scaled(gram_X, factors))
    of_users, of_items = sides_of(factors)
    solved = solve_side(ratings.by_user, of_users, of_items, ridge, squares, steps, is_local=True)
    return (yield from solved), gram_X


def solve_items(
    ratings: RatingMatrix,
    factors: Factors,
    ridge: RidgeTerm,
    *,
    user_curvature: Tensor,
    steps: int,
    is_local: bool,
) -> Solved:
    """Solve for X and c, in place, on all ranks alike.

    Args:
        ratings: this rank's ratings.
        factors: X and c move.
        ridge: of the items, with the Gram matrix of all users if there are unknown pairs.
        user_curvature: the `RidgeTerm.curvature` of this rank's users.
        steps: of conjugate gradients; 0 to solve exactly.
        is_local: whether all users are on this rank.
    """
    squares = ratings.sums.column_squares_over_users(factors.W, user_curvature)
    of_users, of_items = sides_of(factors)
    return (
        yield from solve_side(ratings.by_item, of_items, of_users, ridge, squares, steps, is_local=is_local)
    )


def solve_side(
    kernels: RatingKernels,
    solved: Side[Tensor],
    fixed: Side[Tensor],
    ridge: RidgeTerm,
    column_squares: Tensor,
    steps: int,
    *,
    is_local: bool,
) -> Solved:
    """Solve for the rows of one side, exactly or by the given steps of conjugate gradients.

    The arguments are those of `solve_by_cg`; 0 steps mean an exact solution.
    """
    if not steps:
        return (yield from solve_by_cholesky(kernels, solved, fixed, ridge, is_local=is_local))
    if is_local:
        by_row = kernels.solve_rows(solved, fixed, ridge, column_squares[0] / ridge.total_curvature, steps)
        if by_row is not None:
            half, decrease = ordered_sum(by_row.half_squared_errors), ordered_sum(by_row.decreases)
            return Solution(half[None], decrease, half.new_zeros(()))
    from cofi_dist.optim.conjugate_gradient import solve_by_cg  # it imports the compiled loops

    return (yield from solve_by_cg(kernels, solved, fixed, ridge, column_squares, steps, is_local=is_local))
