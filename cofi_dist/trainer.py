"""The loop: the only place where the maths meets the communication."""

import math
import time
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from cofi_dist.config import Train
from cofi_dist.cost import Cost, ErrorTerm
from cofi_dist.distributed import Comm
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.optim.adam import Adam


@dataclass(frozen=True)
class Printed:
    """One printed epoch, as it stands in metrics.jsonl.

    Attributes:
        epoch: from 1.
        cost: J before this epoch's step, over all ranks.
        seconds: since training started.
        ratings_per_second: of all ranks, since training started.
    """

    epoch: int
    cost: float
    seconds: float
    ratings_per_second: float


class Reports(Protocol):
    """Who hears of the progress."""

    def initial(self, cost: float) -> None: ...

    def step(self, epoch: int) -> None: ...

    def printed(self, metrics: Printed) -> None: ...


class Trainer:
    """Full-batch Adam on J over this rank's users.

    J(X, W, b) = 1/2 sum (w_j . x_i + b_j - y_ij)^2 + lambda/2 (|W|^2 + |X|^2)

    Args:
        cost: the error term on this rank's ratings.
        factors: X, equal on all ranks, and this rank's W and b; moved in place.
        settings: lr, lambda_, epochs, log_every.
        num_ratings: of all ranks.
        comm: sums over the ranks.
    """

    def __init__(self, cost: Cost, factors: Factors, settings: Train, num_ratings: int, comm: Comm) -> None:
        self._cost, self._factors, self._settings = cost, factors, settings
        self._num_ratings, self._comm = num_ratings, comm
        # the dense cost promises the notebook's bits, so it takes torch's default kernels
        fused = settings.cost == "sparse" and factors.X.device.type in ("cpu", "cuda")
        self._adam = Adam(factors, settings.lr, settings.lambda_, fused=fused)

    def run(self, reports: Reports) -> None:
        """All epochs. Collective: all ranks call it.

        Raises:
            RunError: the cost is no longer finite, or the replicas of X drifted apart.
        """
        reports.initial(self._total(self._cost(self._factors, with_value=True)))
        start = time.perf_counter()
        for epoch in range(1, self._settings.epochs + 1):
            prints = epoch == 1 or epoch % self._settings.log_every == 0
            error = self._cost(self._factors, with_value=prints)
            if prints:
                cost = self._total(error)
                seconds = time.perf_counter() - start
                self._check(epoch, cost)
                reports.printed(Printed(epoch, cost, seconds, self._num_ratings * epoch / seconds))
            self._comm.sum_(error.dX)
            # the regulariser enters after the sum, so that lambda X counts once and not once a rank
            self._adam.step(error.dX, error.dW, error.db)
            reports.step(epoch)
        self._comm.require_equal(self._factors.X, "X")

    def _total(self, error: ErrorTerm) -> float:
        """J over all ranks, summed as the notebook sums it."""
        assert error.value is not None
        norm = self._cost.squared_norm
        value, W2 = self._comm.sum_scalars(error.value, norm(self._factors.W))
        J: Tensor = value + (self._settings.lambda_ / 2) * (W2 + norm(self._factors.X))
        return J.item()

    def _check(self, epoch: int, cost: float) -> None:
        # first: replicas that drifted may agree neither on the cost nor on what to do about it
        self._comm.require_equal(self._factors.X, "X")
        if not math.isfinite(cost):
            raise RunError(f"epoch {epoch}: the cost is {cost}; try a lower train.lr", shared=True)
