"""Solve for the rows of one side, users or items, while the other side is fixed.

For fixed X and c, J falls apart into one least-squares problem per user, for w_j and b_j. For fixed W and b,
it falls apart into one per item, for x_i and c_i. Users' problems are complete on the rank that owns them.
Items' problems are sums over all users. T subtrees of this rank's users
(`cofi_dist.sharding.reduction_tree`).
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RatingKernels, RidgeTerm, Side
from cofi_dist.kernels.block_sums import BlockSums, ordered_sum
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.optim.base import Pending, PendingSum, Solution, Solved, Step
from cofi_dist.optim.cholesky import solve_by_cholesky


@dataclass(frozen=True)
class ItemTotals:
    """Hold sums over all items, which every rank knows.

    Attributes:
        squares: what `Objective.item_squares` returns.
        gram: G_X if there are unknown pairs.
    """

    squares: tuple[Tensor, Tensor | None]
    gram: Tensor | None


class HalfSweeps(Protocol):
    """Solve for one side after the other; how depends on which rows of X this rank holds.

    Attributes:
        factors: those that are solved for.
        objective: J.
        unknown: the unknown pairs; None if they have no weight.
        sums: sums over this rank's users.
    """

    @property
    def factors(self) -> Factors: ...

    @property
    def objective(self) -> Objective: ...

    @property
    def unknown(self) -> UnknownPairs | None: ...

    @property
    def sums(self) -> BlockSums: ...

    def prepare(self, moves: Iterator[Pending], *, with_cost: bool) -> Step:
        """Return a step that takes the moves, and has the cost if asked for."""
        ...

    def solve_users(self) -> Generator[Pending, None, tuple[Tensor, ItemTotals]]:
        """Solve for W and b, in place.

        Returns:
            How many users have no unique solution, 0-dim, and sums over the items, which stay as they are.
        """
        ...

    def solve_items(self, gram: Tensor | None) -> Generator[Pending, None, Solution]:
        """Solve for X and c, in place; `gram` is a0 G_W if there are unknown pairs."""
        ...


def ridge_terms(
    factors: Factors,
    regulariser: Regulariser,
    user_counts: Tensor,
    user_curvature: Tensor,
    item_counts: Tensor,
    item_curvature: Tensor,
    *,
    total_curvature: float,
    user_bias: bool,
) -> tuple[RidgeTerm, RidgeTerm]:
    """Return the ridge terms of the users and of the items, without Gram matrices.

    Args:
        factors: those that are solved for.
        regulariser: the second term of J.
        user_counts: ratings of each of this rank's users, in the factors' dtype.
        user_curvature: sum of d_n (`cofi_dist.kernels.base`) over them.
        item_counts: training ratings of each item of the factors, over all ranks.
        item_curvature: sum of d_n over them, at least 0.
        total_curvature: that of all items.
        user_bias: whether b is solved for.
    """
    total = max(1.0, total_curvature)
    of_users = RidgeTerm(
        weight=regulariser.row_weights("W", factors.W),
        weight_b=regulariser.weight("b"),
        has_bias=user_bias,
        counts=user_counts,
        curvature=user_curvature.clamp(min=0),
        total_curvature=total,
    )
    of_items = RidgeTerm(
        weight=regulariser.row_weights("X", factors.X),
        weight_b=regulariser.weight("c"),
        has_bias=factors.c is not None,
        counts=item_counts.to(factors.X),
        curvature=item_curvature.to(factors.X),
        total_curvature=total,
    )
    return of_users, of_items


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
