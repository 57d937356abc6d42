"""What a cost gives the trainer."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class ErrorTerm:
    """Half the squared error over this rank's ratings, and its gradients; no regulariser.

    Attributes:
        value: 0-dim float64; None where it was not asked for.
        dX: (num_items, num_features), a partial sum: to be summed over the ranks.
        dW: (users, num_features), whole.
        db: (1, users), whole.
        dc: (1, num_items), a partial sum as dX is; None where the factors have no c.
    """

    value: Tensor | None
    dX: Tensor
    dW: Tensor
    db: Tensor
    dc: Tensor | None = None

    @property
    def partial(self) -> tuple[Tensor, ...]:
        """What is to be summed over the ranks."""
        return (self.dX,) if self.dc is None else (self.dX, self.dc)


class Cost(Protocol):
    """The error term on one rank's ratings, as a function of the factors."""

    def __call__(self, factors: Factors, *, with_value: bool) -> ErrorTerm:
        """Error (where asked for) and gradients. N = 0 ratings give zeros."""
        ...

    def squared_norm(self, matrix: Tensor) -> Tensor:
        """|W|^2, |X|^2, |b|^2 or |c|^2, 0-dim, in the precision this cost sums in."""
        ...
