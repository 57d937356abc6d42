"""What a cost gives the trainer."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from cofi_dist.factors import Factors


def tensors_of(factors: Factors) -> list[Tensor]:
    """X, W, b, and c where there is one."""
    return list(factors.by_name.values())


def wide(like: Tensor) -> torch.dtype:
    """What sums are kept in: float64, but for mps, which has none."""
    return torch.float32 if like.device.type == "mps" else torch.float64


class Norms(Protocol):
    """Squared norms of a factor's rows."""

    def of_users(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """sum_r weight_r |rows_r|^2 over this rank's users, of each branch, (T,)."""
        ...

    def of_items(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """The same over all items, 0-dim."""
        ...


@dataclass(frozen=True)
class ErrorTerm:
    """Half the squared error over this rank's ratings, and its gradients; no regulariser.

    Attributes:
        value: of each branch of the rank's users, (T,) float64; None where it was not asked for.
        dX: of each branch, (T, num_items, num_features): to be summed over the branches of all ranks.
        of_users: gives dW and db, which need no sum: they may be computed while dX is summed, but before
            a factor moves.
        dc: (T, 1, num_items), as dX; None where the factors have no c.
    """

    value: Tensor | None
    dX: Tensor
    of_users: Callable[[], tuple[Tensor, Tensor]]
    dc: Tensor | None = None

    @cached_property
    def users(self) -> tuple[Tensor, Tensor]:
        """dW, (users, num_features), and db, (1, users), whole; computed when they are first asked for."""
        return self.of_users()

    @property
    def dW(self) -> Tensor:
        """The first of `users`."""
        return self.users[0]

    @property
    def db(self) -> Tensor:
        """The second."""
        return self.users[1]

    @property
    def partial(self) -> tuple[Tensor, ...]:
        """What is to be summed over the branches of all ranks, whose sum the first of them then is."""
        return (self.dX,) if self.dc is None else (self.dX, self.dc)


class Cost(Protocol):
    """The error term on one rank's ratings, as a function of the factors.

    Attributes:
        norms: of the factors, in the precision that this cost sums in.
    """

    @property
    def norms(self) -> Norms: ...

    def __call__(self, factors: Factors, *, with_cost: bool) -> ErrorTerm:
        """Error (where asked for) and gradients, in memory that the next call takes again.

        N = 0 ratings give zeros.
        """
        ...
