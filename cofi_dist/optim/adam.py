"""Full-batch Adam with torch's defaults, as in the notebook."""

from typing import Any

import torch
from torch import Tensor

from cofi_dist.factors import Factors


class Adam:
    """Moves the factors in place along the error's gradient and the regulariser's.

    The moments of W and b stay on the rank that owns the users.

    Args:
        factors: what to move.
        lr: step size.
        lambda_: weight of lambda/2 (|W|^2 + |X|^2); b is not regularised.
        fused: one pass of torch's fused kernel, about 5 times faster, but rounded unlike the
            notebook.
    """

    def __init__(self, factors: Factors, lr: float, lambda_: float, *, fused: bool) -> None:
        self._factors, self._lambda, self._fused = factors, lambda_, fused
        # torch's weight decay is the gradient of this regulariser, and costs the fused kernel nothing
        decayed: dict[str, Any] = {
            "params": [factors.X, factors.W],
            "weight_decay": lambda_ if fused else 0.0,
        }
        # fused=None leaves torch its default, which the notebook takes
        self._adam = torch.optim.Adam([decayed, {"params": [factors.b]}], lr=lr, fused=fused or None)

    def step(self, dX: Tensor, dW: Tensor, db: Tensor) -> None:
        """One step.

        Args:
            dX: the error's gradient, summed over all ranks, (num_items, num_features); overwritten.
            dW: the same of this rank's users, (users, num_features); overwritten.
            db: the same, (1, users).
        """
        X, W, b = self._factors.X, self._factors.W, self._factors.b
        if not self._fused:
            # rounded as autograd does it: torch's own weight decay may fuse the two operations
            dX += self._lambda * X
            dW += self._lambda * W
        X.grad, W.grad, b.grad = dX, dW, db
        self._adam.step()
        X.grad = W.grad = b.grad = None  # the next gradient takes the same memory, still in cache
