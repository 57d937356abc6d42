"""The loop: the only place where the maths meets the communication."""

import math
import time
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cofi_dist.config import Train
from cofi_dist.cost import Cost, ErrorTerm
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.term import tensors_of
from cofi_dist.distributed import Comm
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.optim.adam import Adam
from cofi_dist.validation import Accuracy, Kept, Validation


@dataclass(frozen=True)
class Printed:
    """One printed epoch, as it stands in metrics.jsonl.

    Attributes:
        epoch: from 1.
        cost: J before this epoch's step, over all ranks.
        seconds: since training started.
        ratings_per_second: training ratings of all ranks, since training started.
        validation_rmse, validation_mae: of the same factors as the cost, where they were measured.
    """

    epoch: int
    cost: float
    seconds: float
    ratings_per_second: float
    validation_rmse: float | None = None
    validation_mae: float | None = None


class Reports(Protocol):
    """Who hears of the progress."""

    def note(self, text: str) -> None: ...

    def initial(self, cost: float) -> None: ...

    def step(self, epoch: int) -> None: ...

    def printed(self, metrics: Printed) -> None: ...


class DivergedError(RunError):
    """The cost or the factors are no longer finite, on every rank at once.

    Attributes:
        kept: epoch before whose step the factors were as they are now again; None where there was
            none with a finite cost.
    """

    def __init__(self, message: str, kept: int | None) -> None:
        super().__init__(message, shared=True)
        self.kept = kept


class Trainer:
    """Full-batch Adam on J over this rank's users.

    J = 1/2 sum (w_j . x_i + b_j + c_i - y_ij)^2 and the regulariser, c where the factors have it.

    Args:
        cost: the error term on this rank's ratings.
        factors: X and c, equal on all ranks, and this rank's W and b; moved in place.
        settings: lr, epochs, log_every; lambda_ and lambda_b if no regulariser is given.
        num_ratings: training ratings of all ranks.
        comm: sums over the ranks.
        regulariser: None for one that does not depend on the numbers of ratings.
        validation: None for no validation.
    """

    def __init__(
        self,
        cost: Cost,
        factors: Factors,
        settings: Train,
        num_ratings: int,
        comm: Comm,
        regulariser: Regulariser | None = None,
        validation: Validation | None = None,
    ) -> None:
        self._cost, self._factors, self._settings = cost, factors, settings
        self._num_ratings, self._comm, self._validation = num_ratings, comm, validation
        assert regulariser is not None or settings.lambda_power == 0
        self._regulariser = regulariser or Regulariser(settings.lambda_, settings.lambda_b)
        self._kept = Kept(factors)
        # the dense cost promises the notebook's bits, so it takes torch's default kernels
        fused = settings.cost == "sparse" and factors.X.device.type in ("cpu", "cuda")
        self._adam = Adam(factors, settings.lr, self._regulariser, fused=fused)

    def run(self, reports: Reports) -> tuple[int, Accuracy | None]:
        """All epochs, or fewer if validation ends them; with it, the best factors are left.

        Collective: all ranks call it.

        Returns:
            The epoch before whose step the factors left were so (after the last step, one more than
            there are), and how well they do on the held-out ratings, where there are some.

        Raises:
            DivergedError: the cost or the factors are no longer finite; the last good factors are left.
            RunError: the replicas of X drifted apart.
        """
        reports.initial(self._total(self._cost(self._factors, with_value=True)))
        finished = self._steps(reports)
        last_is_best = finished and self._judge_last(reports)
        if self._validation and not last_is_best:
            self._kept.restore()
            reports.note(f"restored the factors of epoch {self._kept.epoch}: {self._kept.accuracy}")
        if self._validation is None or self._kept.epoch is None:
            return self._settings.epochs + 1, None
        return self._kept.epoch, self._kept.accuracy

    def _steps(self, reports: Reports) -> bool:
        """Take the steps; returns whether all of them."""
        start = time.perf_counter()
        for epoch in range(1, self._settings.epochs + 1):
            prints = epoch == 1 or epoch % self._settings.log_every == 0 or self._validates(epoch)
            error = self._cost(self._factors, with_value=prints)
            if prints:
                reports.printed(self._measure(epoch, self._total(error), start))
                if self._gives_up(epoch, reports):
                    return False
            self._comm.sum_(*error.partial)
            # the regulariser enters after the sum, so that lambda X counts once and not once a rank
            self._adam.step(error)
            reports.step(epoch)
        return True

    def _total(self, error: ErrorTerm) -> float:
        """J over all ranks, summed as the notebook sums it."""
        assert error.value is not None
        regulariser, norm = self._regulariser, self._cost.squared_norm
        of_users = regulariser.of_users(self._factors, norm)
        value, W2, b2 = self._comm.sum_scalars(error.value, *of_users)
        J: Tensor = value + regulariser.total((W2, b2), self._factors, norm)
        return J.item()

    def _validates(self, epoch: int) -> bool:
        return self._validation is not None and self._validation.is_due(epoch)

    def _measure(self, epoch: int, cost: float, start: float) -> Printed:
        """What is printed of an epoch; the factors are kept if they are the best so far."""
        # first: replicas that drifted may agree neither on the cost nor on what to do about it
        self._comm.require_equal(self._factors.X, "X")
        if not math.isfinite(cost):
            raise self._diverged(epoch, f"the cost is {cost}")
        # a finite cost has finite factors: it holds every entry's square, and 0 * inf is nan
        accuracy = self._accuracy() if self._validates(epoch) else None
        self._kept.offer(epoch, accuracy)
        seconds = time.perf_counter() - start
        speed = self._num_ratings * epoch / seconds
        if accuracy is None:
            return Printed(epoch, cost, seconds, speed)
        return Printed(epoch, cost, seconds, speed, accuracy.rmse, accuracy.mae)

    def _accuracy(self) -> Accuracy:
        assert self._validation is not None
        return self._validation.accuracy(self._factors, self._comm)

    def _gives_up(self, epoch: int, reports: Reports) -> bool:
        kept = self._kept
        if self._validation is None or self._validation.patience != kept.stale or kept.accuracy is None:
            return False
        reports.note(
            f"stopped at epoch {epoch}: {kept.stale} validations without a lower RMSE"
            f" than epoch {kept.epoch}'s {kept.accuracy.rmse:.4f}"
        )
        return True

    def _judge_last(self, reports: Reports) -> bool:
        """Look at what the last step left, which no epoch prints; returns whether it is the best."""
        last = self._settings.epochs
        self._comm.require_equal(self._factors.X, "X")
        if not self._all_finite():
            raise self._diverged(last, "the factors are no longer finite")
        if self._validation is None:
            return False
        accuracy = self._accuracy()
        reports.note(f"after the last step: {accuracy}")
        return self._kept.offer(last + 1, accuracy)

    def _all_finite(self) -> bool:
        finite = torch.stack([t.isfinite().all() for t in tensors_of(self._factors)]).all()
        (bad_ranks,) = self._comm.sum_scalars(1.0 - finite.float())
        return bad_ranks.item() == 0

    def _diverged(self, epoch: int, what: str) -> DivergedError:
        """The error to raise, once the last good factors are back."""
        if self._kept.epoch is not None:
            self._kept.restore()
        return DivergedError(f"epoch {epoch}: {what}", self._kept.epoch)
