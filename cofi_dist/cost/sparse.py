"""Compute the error term as sums over the known ratings only."""

import torch
from torch import Tensor

from cofi_dist.cost.term import ErrorTerm
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import NUMPY_TYPE, Csr, Side
from cofi_dist.kernels.block_sums import ordered_row_sums
from cofi_dist.kernels.rating_matrix import Backend, RatingMatrix


def build_rating_matrix(
    shard: UserShard,
    device: torch.device,
    dtype: torch.dtype,
    *,
    tiled: bool = True,
    backend: Backend | None = None,
) -> RatingMatrix:
    """Return a rank's ratings in both orders, less their items' means; the shard is no longer needed then.

    Args:
        shard: the rank's ratings.
        device: where they are summed.
        dtype: of the factors.
        tiled: as for `RatingMatrix`.
        backend: as for `RatingMatrix`.
    """
    csr = Csr(*shard.csr(NUMPY_TYPE[dtype]))
    return RatingMatrix(csr, shard.num_items, shard.blocks, device, tiled=tiled, backend=backend)


def sides_of(factors: Factors) -> tuple[Side[Tensor], Side[Tensor]]:
    """Return the factors of the users and those of the items; item biases are zeros if the model has none."""
    return Side(factors.W, factors.b[0]), Side(factors.X, factors.item_bias_or_zeros())


def half_squared_error(ratings: RatingMatrix, factors: Factors) -> Tensor:
    """Return half the squared error over this rank's ratings, per subtree, (T,) float64."""
    half_U = ratings.by_user.half_squared_errors(*sides_of(factors))
    return ratings.sums.sum_over_users(half_U)


class SparseCost:
    """Compute the error term from each row's known ratings.

    Each side computes the errors anew: keeping them for the other side, and gathering them in its order,
    takes longer.

    Args:
        ratings: this rank's ratings.
    """

    def __init__(self, ratings: RatingMatrix) -> None:
        self._ratings, self.sums = ratings, ratings.sums

    def __call__(self, factors: Factors, *, with_cost: bool) -> ErrorTerm:
        users, items = sides_of(factors)
        dX, dc, half_BM = self._ratings.by_item.error_gradients(items, users)
        value = self.sums.sum_subtrees(ordered_row_sums(half_BM)) if with_cost else None
        return ErrorTerm(
            value, dX, lambda: self._user_gradients(factors), None if factors.c is None else dc[:, None]
        )

    def _user_gradients(self, factors: Factors) -> tuple[Tensor, Tensor]:
        dW, db, _ = self._ratings.by_user.error_gradients(*sides_of(factors))
        return dW[0], db
