"""Move factors along gradients by Adam with torch's defaults, as in the notebook."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import NUMPY_TYPE

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # torch's defaults, which the notebook takes


@dataclass(frozen=True)
class Moments:
    """Hold Adam's state of one factor.

    Attributes:
        mean: running mean of the gradient, shaped like the factor.
        square: running mean of the squared gradient, shaped like the factor.
        step: the number of steps taken, 0-dim float32.
    """

    mean: Tensor
    square: Tensor
    step: Tensor


class AdamMoves:
    """Hold the moments of the factors, and move each factor by itself.

    Torch's functional Adam is called, the one under `torch.optim.Adam`, whose wrappers take 0.3 ms per step:
    as long as a small problem.

    Args:
        factors: are moved in place.
        regulariser: its gradient is added to the error's.
        lr: step size.
        fused: move each factor in one pass, which is about 5 times as fast, but rounds differently from the
            notebook. On the CPU that is a compiled loop, because the rounding of torch's fused kernel depends
            on where an entry lies; on other devices it is torch's kernel.

    Attributes:
        moments: the state of each factor, by name.
    """

    def __init__(self, factors: Factors, regulariser: Regulariser, *, lr: float, fused: bool) -> None:
        self._by_name, self._regulariser = factors.by_name, regulariser
        self._lr, self._fused = lr, fused
        self.moments = {name: self._initial_moments(factor) for name, factor in self._by_name.items()}

    def row_tensors(self, name: str) -> dict[str, Tensor]:
        """Return the moments of a factor."""
        moments = self.moments[name]
        return {"mean": moments.mean, "square": moments.square}

    def restore_scalars(self, epoch: int) -> None:
        """Restore the number of steps taken."""
        for moments in self.moments.values():
            moments.step.fill_(epoch)

    def _initial_moments(self, factor: Tensor) -> Moments:
        # The fused kernel wants the step counter beside the factor, the others want it on the CPU.
        device = factor.device if self._fused else "cpu"
        return Moments(
            torch.zeros_like(factor),
            torch.zeros_like(factor),
            torch.zeros((), dtype=torch.float32, device=device),
        )

    def move(self, name: str, gradient: Tensor) -> None:
        """Move one factor along the error's gradient and the regulariser's."""
        factor, moments, regulariser = self._by_name[name], self.moments[name], self._regulariser
        weight_decay = 0.0
        if self._fused and regulariser.is_weight_decay:
            # This is the same gradient, and costs the fused kernels nothing.
            weight_decay = regulariser.weight(name)
        else:
            # Rounded as autograd does it. Torch's own weight decay may fuse the two operations.
            regulariser.add_gradient(name, factor, gradient)
        if self._fused and factor.device.type == "cpu":
            self._move_by_loop(factor, gradient, moments, weight_decay)
            return
        adam(
            [factor],
            [gradient],
            [moments.mean],
            [moments.square],
            [],
            [moments.step],
            lr=self._lr,
            beta1=BETA1,
            beta2=BETA2,
            eps=EPS,
            weight_decay=weight_decay,
            fused=self._fused or None,  # None leaves the choice to torch, as the notebook does
            amsgrad=False,
            maximize=False,
        )

    def _move_by_loop(self, factor: Tensor, gradient: Tensor, moments: Moments, weight_decay: float) -> None:
        # Imported here, because the notebook's steps need no compiled loops.
        from cofi_dist.kernels.cpu import factor_loops
        from cofi_dist.kernels.cpu.jit import match_torch_threads

        step, number = float(moments.step.add_(1)), NUMPY_TYPE[factor.dtype]
        size, root = self._lr / (1 - BETA1**step), math.sqrt(1 - BETA2**step)
        # A huge lr is infinite in float32. The run will report that it diverged.
        with np.errstate(over="ignore"):
            scalars = (number(setting) for setting in (BETA1, BETA2, size, root, EPS, weight_decay))
            settings = factor_loops.AdamSettings(*scalars)
        arrays = (t.view(-1).numpy() for t in (factor, gradient, moments.mean, moments.square))
        factor_loops.adam(match_torch_threads(), *arrays, settings)
