"""Full-batch Adam with torch's defaults, as in the notebook."""

import torch
from torch import Tensor

from cofi_dist.factors import Factors


class Adam:
    """Moves the factors in place; the moments of W and b stay on the rank that owns the users.

    Args:
        factors: what to move.
        lr: step size.
        fused: torch's fused kernel, about 5 times faster, but rounded unlike the notebook's.
    """

    def __init__(self, factors: Factors, lr: float, *, fused: bool) -> None:
        self._factors = factors
        # None leaves torch its default, which the notebook takes
        self._adam = torch.optim.Adam([factors.X, factors.W, factors.b], lr=lr, fused=fused or None)

    def step(self, dX: Tensor, dW: Tensor, db: Tensor) -> None:
        """One step along whole gradients, shaped as X, W and b."""
        self._factors.X.grad, self._factors.W.grad, self._factors.b.grad = dX, dW, db
        self._adam.step()
