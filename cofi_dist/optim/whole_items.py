"""Take the half-sweeps of alternating least squares where every rank holds all rows of X."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import half_squared_error
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RidgeTerm, accumulation_dtype
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.optim.base import Pending, Solved, Step
from cofi_dist.optim.half_sweep import ItemTotals, ridge_terms, solve_items, solve_users


@dataclass(frozen=True)
class WholeItems:
    """Solve for the users on their own rank, and for the items on all ranks alike.

    Users' problems are complete on the rank that owns them. Items' problems are sums over all users, so each
    step of conjugate gradients on them yields one tensor of X's shape to sum over the ranks.

    Attributes:
        ratings: this rank's ratings.
        factors, objective, unknown: see `HalfSweeps`.
        user_ridge, item_ridge: what is minimised beside the squared errors, without the unknown pairs.
        steps: of conjugate gradients per half-sweep; 0 to solve each half exactly.
        owns_all_users: whether all users are on this rank, so that items' problems are complete too.
    """

    ratings: RatingMatrix
    factors: Factors
    objective: Objective
    unknown: UnknownPairs | None
    user_ridge: RidgeTerm
    item_ridge: RidgeTerm
    steps: int
    owns_all_users: bool

    @classmethod
    def build(
        cls,
        ratings: RatingMatrix,
        factors: Factors,
        regulariser: Regulariser,
        *,
        item_counts: Tensor,
        steps: int,
        owns_all_users: bool,
        item_curvature: Tensor | None = None,
        unknown: UnknownPairs | None = None,
        user_bias: bool = True,
    ) -> Self:
        """Put together what both sides' problems consist of.

        Args:
            ratings: as for the class.
            factors: as for the class.
            regulariser: the second term of J.
            item_counts: training ratings of each item over all ranks, (num_items,).
            item_curvature: sum of d_n (`cofi_dist.kernels.base`) over the items' ratings, (num_items,); None
                if all are 1.
            steps: as for the class.
            owns_all_users: as for the class.
            unknown: as for the class.
            user_bias: whether b is solved for; else it stays as it is.
        """
        curvature = item_counts if item_curvature is None else item_curvature.clamp(min=0)
        ridges = ridge_terms(
            factors,
            regulariser,
            ratings.by_user.counts,
            ratings.by_user.curvature,
            item_counts,
            curvature,
            total_curvature=float(curvature.sum(dtype=accumulation_dtype(factors.X))),
            user_bias=user_bias,
        )
        objective = Objective(regulariser, ratings.sums)
        return cls(ratings, factors, objective, unknown, *ridges, steps, owns_all_users)

    @property
    def sums(self) -> BlockSums:
        """Return the sums over this rank's users."""
        return self.ratings.sums

    def prepare(self, moves: Iterator[Pending], *, with_cost: bool) -> Step:
        """Return a step that takes the moves, and compute the cost if asked for."""
        half = half_squared_error(self.ratings, self.factors, self.unknown) if with_cost else None
        return Step(half, moves)

    def solve_users(self) -> Generator[Pending, None, tuple[Tensor, ItemTotals]]:
        """Solve for W and b, in place."""
        users, gram_X = yield from solve_users(
            self.ratings,
            self.factors,
            self.user_ridge,
            item_curvature=self.item_ridge.curvature,
            unknown=self.unknown,
            steps=self.steps,
        )
        return users.singular, ItemTotals(self.objective.item_squares(self.factors), gram_X)

    def solve_items(self, gram: Tensor | None) -> Solved:
        """Solve for X and c, in place, on all ranks alike."""
        return (
            yield from solve_items(
                self.ratings,
                self.factors,
                replace(self.item_ridge, gram=gram),
                user_curvature=self.user_ridge.curvature,
                steps=self.steps,
                is_local=self.owns_all_users,
            )
        )
