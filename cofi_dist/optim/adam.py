"""Minimise J by full-batch Adam with torch's defaults, as in the notebook."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.adam import adam

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.term import Cost, ErrorTerm
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import NUMPY_TYPE
from cofi_dist.kernels.cuda.graph import GraphedCallable
from cofi_dist.optim.base import PendingSum, Step

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


class Adam:
    """Move all factors along the gradient of J, which is the error's plus the regulariser's.

    The moments of W and b stay on the rank that owns the users. Torch's functional Adam is called, the one
    under `torch.optim.Adam`, whose wrappers take 0.3 ms per step: as long as a small problem.

    Args:
        cost: computes the error term on this rank's ratings.
        factors: are moved in place.
        regulariser: its gradient is added to the error's.
        lr: step size.
        fused: move each factor in one pass, which is about 5 times as fast, but rounds differently from the
            notebook. On the CPU that is a compiled loop, because the rounding of torch's fused kernel depends
            on where an entry lies; on other devices it is torch's kernel.
        record: play steps back as one CUDA graph, unless their cost is asked for. Only for a single rank,
            because the graph cannot wait for other ranks' sums.

    Attributes:
        objective: J.
        moments: the state of each factor, by name.
    """

    is_converged = False  # Adam does not look at J, so it never knows.

    def __init__(
        self,
        cost: Cost,
        factors: Factors,
        regulariser: Regulariser,
        *,
        lr: float,
        fused: bool,
        record: bool = False,
    ) -> None:
        self._cost, self._factors, self._lr, self._fused = cost, factors, lr, fused
        self.objective = Objective(regulariser, cost.sums)
        self._by_name = factors.by_name
        self.moments = {name: self._initial_moments(factor) for name, factor in self._by_name.items()}
        self._recorded = GraphedCallable(self._step_alone) if record else None

    def prepare_step(self, *, with_cost: bool = False) -> Step:
        """Compute the gradients of X and c, and the cost if asked for, and return a step along them."""
        if self._recorded is not None and not with_cost:
            return Step(None, self._play_back(self._recorded))
        error = self._cost(self._factors, with_cost=with_cost)
        return Step(error.value, self._moves(error))

    def row_tensors(self, name: str) -> dict[str, Tensor]:
        """Return the moments of a factor."""
        moments = self.moments[name]
        return {"mean": moments.mean, "square": moments.square}

    @property
    def scalars(self) -> None:
        """Return nothing: all that is not a tensor is the number of steps, which is the run's own."""
        return

    def restore_scalars(self, epoch: int, scalars: dict[str, Any] | None) -> None:
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

    def _moves(self, error: ErrorTerm) -> Iterator[PendingSum]:
        """Move W and b while the gradients of X and c are summed over the ranks, then X and c."""
        yield PendingSum(*error.to_reduce, overlap=lambda: self._move_users(error))
        # Their gradients are added after the sum, so that they count once, not once per rank.
        error.complete_item_gradients()
        self._move("X", error.dX[0])
        if error.dc is not None:
            self._move("c", error.dc[0])

    def _step_alone(self) -> None:
        """Take a step whose sums are complete on this rank."""
        for pending in self._moves(self._cost(self._factors, with_cost=False)):
            pending.overlap()

    @staticmethod
    def _play_back(recorded: GraphedCallable) -> Iterator[PendingSum]:
        recorded()
        yield from ()  # there is nothing to sum

    def _move_users(self, error: ErrorTerm) -> None:
        self._move("W", error.dW)
        self._move("b", error.db)

    def _move(self, name: str, gradient: Tensor) -> None:
        """Move one factor along the error's gradient and the regulariser's."""
        factor, moments, regulariser = self._by_name[name], self.moments[name], self.objective.regulariser
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
