"""Define what a cost gives the optimiser: an error term with its gradients.

T is the number of subtrees of this rank's users (`cofi_dist.sharding.reduction_tree`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from torch import Tensor

from cofi_dist.factors import Factors


def do_nothing() -> None:
    """Do nothing: there is no work to overlap, or nothing to complete."""


class RowSums(Protocol):
    """Sum the squares of a factor's rows."""

    def squares_over_users(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return sum_r weight_r |rows_r|^2 over this rank's users, per subtree, (T,)."""
        ...

    def squares_over_items(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return sum_r weight_r |rows_r|^2 over all items, 0-dim."""
        ...


@dataclass(frozen=True)
class ErrorTerm:
    """Hold half the squared error over this rank's ratings and its gradients, without the regulariser.

    Attributes:
        value: half the squared error per subtree of this rank's users, (T,) float64; None if it was not
            asked for.
        dX: gradient of X per subtree, (T, num_items, K); to be summed over the subtrees of all ranks.
        compute_user_gradients: returns dW and db. They need no sum over ranks, so they may be computed while
            dX is being summed, but before any factor moves.
        dc: gradient of c per subtree, (T, 1, num_items); None if the factors have no c.
        gram_of_users: of the unknown pairs, times their weight, per subtree, (T, K + 2, K + 2); None if they
            have no weight.
        complete_item_gradients: adds the share of the unknown pairs to dX[0] and dc[0], once all is summed
            over the ranks, and before X moves. Any of W and b may have moved.
    """

    value: Tensor | None
    dX: Tensor
    compute_user_gradients: Callable[[], tuple[Tensor, Tensor]]
    dc: Tensor | None = None
    gram_of_users: Tensor | None = None
    complete_item_gradients: Callable[[], None] = do_nothing

    @cached_property
    def user_gradients(self) -> tuple[Tensor, Tensor]:
        """Return dW, (users, K), and db, (1, users), both complete; they are computed on first access."""
        return self.compute_user_gradients()

    @property
    def dW(self) -> Tensor:
        """Return the gradient of W, (users, K)."""
        return self.user_gradients[0]

    @property
    def db(self) -> Tensor:
        """Return the gradient of b, (1, users)."""
        return self.user_gradients[1]

    @property
    def to_reduce(self) -> tuple[Tensor, ...]:
        """Return the tensors to sum over the subtrees of all ranks; the sum replaces the first subtree."""
        return tuple(t for t in (self.dX, self.dc, self.gram_of_users) if t is not None)


class Cost(Protocol):
    """Compute the error term on this rank's ratings, as a function of the factors.

    Attributes:
        sums: sums of squares of the factors' rows, in the precision that this cost sums in.
    """

    @property
    def sums(self) -> RowSums: ...

    def __call__(self, factors: Factors, *, with_cost: bool) -> ErrorTerm:
        """Return the gradients, and the error if asked for, in memory that the next call overwrites.

        N = 0 ratings give zeros.
        """
        ...
