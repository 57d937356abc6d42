"""Put together the objective J that training minimises: half the squared error plus the regulariser.

T is the number of subtrees of this rank's users (`cofi_dist.sharding.reduction_tree`).
"""

from dataclasses import dataclass

from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.term import RowSums
from cofi_dist.factors import Factors


@dataclass(frozen=True)
class Objective:
    """Put J together from terms that the caller has summed over the ranks.

    J = 1/2 sum (w_j . x_i + b_j + c_i - y_ij)^2 + regulariser, without c_i if the factors have no c.

    Attributes:
        regulariser: the second term.
        sums: row sums, in the precision and in the order in which the first term is summed.
    """

    regulariser: Regulariser
    sums: RowSums

    def user_squares(self, factors: Factors) -> tuple[Tensor, Tensor]:
        """Return the (weighted) sums of squares of W and of b over this rank's users, per subtree, (T,)."""
        return self.regulariser.user_squares(factors, self.sums)

    def item_squares(self, factors: Factors) -> tuple[Tensor, Tensor | None]:
        """Return the (weighted) sums of squares of X and of c over all items, 0-dim; None without c."""
        return self.regulariser.item_squares(factors, self.sums)

    def penalty(
        self, user_squares: tuple[Tensor, Tensor], item_squares: tuple[Tensor, Tensor | None]
    ) -> Tensor:
        """Return the regulariser's value, 0-dim.

        Args:
            user_squares: those of all ranks, summed, 0-dim each.
            item_squares: those of all items.
        """
        return self.regulariser.value(user_squares, item_squares)

    def value(
        self,
        half_squared_error: Tensor,
        user_squares: tuple[Tensor, Tensor],
        item_squares: tuple[Tensor, Tensor | None],
    ) -> Tensor:
        """Return J, 0-dim.

        Args:
            half_squared_error: that of all ranks, summed, 0-dim.
            user_squares: those of all ranks, summed, 0-dim each.
            item_squares: those of all items.
        """
        return half_squared_error + self.penalty(user_squares, item_squares)
