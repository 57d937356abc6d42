"""The error term as sums over the known ratings only."""

from torch import Tensor

from cofi_dist.cost.term import ErrorTerm
from cofi_dist.factors import Factors
from cofi_dist.kernels.block_sums import sums_of
from cofi_dist.kernels.rating_matrix import RatingMatrix


class SparseCost:
    """Error term by sums over rows' ratings; errors are made anew for each side, neither kept nor gathered.

    Args:
        ratings: this rank's ratings.
    """

    def __init__(self, ratings: RatingMatrix) -> None:
        self._ratings, self.sums = ratings, ratings.sums

    def __call__(self, factors: Factors, *, with_cost: bool) -> ErrorTerm:
        X, W, b, c = factors.X, factors.W, factors.b[0], factors.item_bias_or_zeros()
        dX, dc, half_BM = self._ratings.by_item.gradients(X, c, W, b)
        value = self.sums.sum_branches(sums_of(half_BM)) if with_cost else None
        return ErrorTerm(
            value, dX, lambda: self._user_gradients(factors), None if factors.c is None else dc[:, None]
        )

    def _user_gradients(self, factors: Factors) -> tuple[Tensor, Tensor]:
        dW, db, _ = self._ratings.by_user.gradients(
            factors.W, factors.b[0], factors.X, factors.item_bias_or_zeros()
        )
        return dW[0], db
