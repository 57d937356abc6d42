"""Full-batch Adam with torch's defaults, as in the notebook."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.term import Cost, ErrorTerm
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import NUMPY_TYPE
from cofi_dist.optim.base import PendingSum

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8  # torch's defaults, which the notebook takes


@dataclass(frozen=True)
class Moments:
    """Adam's state of one factor.

    Attributes:
        mean: running mean of the gradient, shaped as the factor.
        square: running mean of its square, shaped as the factor.
        step: steps taken, 0-dim float32.
    """

    mean: Tensor
    square: Tensor
    step: Tensor


class Adam:
    """Moves the factors in place along the error's gradient and the regulariser's.

    The moments of W and b stay on the rank that owns the users. It calls torch's functional form,
    the one under `torch.optim.Adam`: its wrappers take 0.3 ms a step, as long as a small problem.

    Args:
        cost: the error term on this rank's ratings.
        factors: what to move.
        lr: step size.
        regulariser: whose gradient is added to the error's.
        fused: one pass, about 5 times faster, but rounded unlike the notebook: by the compiled loop on a
            CPU, where torch's fused kernel rounds by the place of an entry; else by that.

    Attributes:
        moments: of each factor, by its letter.
    """

    is_converged = False  # a step does not look at J

    def __init__(
        self, cost: Cost, factors: Factors, lr: float, regulariser: Regulariser, *, fused: bool
    ) -> None:
        self._cost = cost
        self._error: ErrorTerm | None = None
        self._factors, self._lr, self._regulariser, self._fused = factors, lr, regulariser, fused
        self.moments = {name: self._start(factor) for name, factor in factors.by_name.items()}

    def error(self, *, with_cost: bool) -> Tensor | None:
        """Half the squared error over this rank's ratings, where it is asked for; and the gradients."""
        self._error = self._cost(self._factors, with_cost=with_cost)
        return self._error.value

    def step(self) -> Iterator[PendingSum]:
        """One step, once `error` has been called; yields what is to be summed over the ranks."""
        error = self._error
        assert error is not None
        self._error = None
        yield PendingSum(*error.to_reduce, overlap=lambda: self._move_users(error))
        # the regulariser enters after the sum, so that lambda X counts once and not once a rank
        self._move("X", error.dX[0])
        if error.dc is not None:
            self._move("c", error.dc[0])

    def row_tensors(self, letter: str) -> dict[str, Tensor]:
        """State of a factor, shaped as it is."""
        moments = self.moments[letter]
        return {"mean": moments.mean, "square": moments.square}

    @property
    def scalars(self) -> None:
        """There is no state that is no tensor, but for the steps taken."""
        return

    def restore_scalars(self, epoch: int, numbers: dict[str, Any] | None) -> None:
        """Go on as after so many steps; the rows are the caller's to restore."""
        for moments in self.moments.values():
            moments.step.fill_(epoch)

    def _start(self, factor: Tensor) -> Moments:
        # the fused kernel wants the step beside the factor, the others want it on the CPU
        device = factor.device if self._fused else "cpu"
        return Moments(
            torch.zeros_like(factor),
            torch.zeros_like(factor),
            torch.zeros((), dtype=torch.float32, device=device),
        )

    def _move_users(self, error: ErrorTerm) -> None:
        self._move("W", error.dW)
        self._move("b", error.db)

    def _move(self, letter: str, grad: Tensor) -> None:
        """One factor, by its gradient and the regulariser's."""
        factor, moments, decay = self._factors.by_name[letter], self.moments[letter], 0.0
        if self._fused and self._regulariser.is_weight_decay:
            # the same gradient, and it costs the fused kernel nothing
            decay = self._regulariser.weight(letter)
        else:
            # rounded as autograd does it: torch's own weight decay may fuse the two operations
            self._regulariser.add_gradient(letter, factor, grad)
        if self._fused and factor.device.type == "cpu":
            self._loop(factor, grad, moments, decay)
            return
        adam(
            [factor],
            [grad],
            [moments.mean],
            [moments.square],
            [],
            [moments.step],
            lr=self._lr,
            beta1=BETA1,
            beta2=BETA2,
            eps=EPS,
            weight_decay=decay,
            fused=self._fused or None,  # None leaves torch its default, which the notebook takes
            amsgrad=False,
            maximize=False,
        )

    def _loop(self, factor: Tensor, grad: Tensor, moments: Moments, decay: float) -> None:
        from cofi_dist.kernels.cpu import factor_loops  # here: the notebook's steps need no compiled loops
        from cofi_dist.kernels.cpu.jit import match_torch_threads

        step, number = float(moments.step.add_(1)), NUMPY_TYPE[factor.dtype]
        size, root = self._lr / (1 - BETA1**step), math.sqrt(1 - BETA2**step)
        # a huge lr is infinite in float32: the run will say that it diverged
        with np.errstate(over="ignore"):
            settings = tuple(number(setting) for setting in (BETA1, BETA2, size, root, EPS))
        arrays = (t.view(-1).numpy() for t in (factor, grad, moments.mean, moments.square))
        factor_loops.adam(match_torch_threads(), *arrays, number(decay), settings)
