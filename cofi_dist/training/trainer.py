"""The loop: the only place where the maths meets the communication."""

import math
import time

from torch import Tensor, tensor

from cofi_dist.config import Train
from cofi_dist.cost import Cost
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.distributed.comm import Comm, Reducer
from cofi_dist.errors import TrainingError
from cofi_dist.factors import Factors
from cofi_dist.kernels.cuda.graph import GraphedCallable
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.base import Optimizer, run_step
from cofi_dist.training.best_factors import BestFactors
from cofi_dist.training.callbacks import NoCallback, ProgressListener, StepCallback
from cofi_dist.training.metrics import Accuracy, EpochMetrics
from cofi_dist.training.state import State
from cofi_dist.training.validation import Validation
from cofi_dist.words import counted


class DivergedError(TrainingError):
    """The cost or the factors are no longer finite, on every rank at once.

    Attributes:
        kept: epoch before whose step the factors were as they are now again; None where there was
            none with a finite cost.
    """

    def __init__(self, message: str, kept: int | None) -> None:
        super().__init__(message, shared=True)
        self.kept = kept


class Trainer:
    """Full batches on J over this rank's users.

    J = 1/2 sum (w_j . x_i + b_j + c_i - y_ij)^2 and the regulariser, c where the factors have it.

    Args:
        cost: the error term on this rank's ratings.
        factors: X and c, equal on all ranks, and this rank's W and b; moved in place.
        settings: lr, epochs, log_every; lambda_ and lambda_b if no regulariser is given.
        num_ratings: training ratings of all ranks.
        comm: the ranks.
        regulariser: None for one that does not depend on the numbers of ratings.
        validation: None for no validation.
        optimizer: None for Adam.
        sums: over all users; None for the comm's own.

    Attributes:
        state: what `run` goes on from, at first that of no steps.
    """

    def __init__(
        self,
        cost: Cost | RatingMatrix,
        factors: Factors,
        settings: Train,
        num_ratings: int,
        comm: Comm,
        regulariser: Regulariser | None = None,
        validation: Validation | None = None,
        optimizer: Optimizer | None = None,
        sums: Reducer | None = None,
    ) -> None:
        self._cost, self._settings = cost, settings
        self._num_ratings, self._comm, self._validation = num_ratings, comm, validation
        self._sums = sums or comm
        assert regulariser is not None or settings.lambda_power == 0
        self._regulariser = regulariser or Regulariser(settings.lambda_, settings.lambda_b)
        # the dense cost promises the notebook's bits, so it takes torch's default kernels
        fused = settings.cost == "sparse" and factors.X.device.type in ("cpu", "cuda")
        if optimizer is None:
            assert not isinstance(cost, RatingMatrix), "als comes with its cost"
            optimizer = Adam(cost, factors, settings.lr, self._regulariser, fused=fused)
        self.state = State(factors, optimizer, BestFactors(factors))
        alike = factors.X.device.type == "cuda" and comm.world_size == 1 and fused
        self._epoch = (
            GraphedCallable(self._unprinted) if alike and isinstance(optimizer, Adam) else self._unprinted
        )

    def run(
        self, listener: ProgressListener, callback: StepCallback | None = None
    ) -> tuple[int, Accuracy | None]:
        """All epochs that are left, or fewer if validation ends them; with it, the best factors are left.

        Collective: all ranks call it.

        Args:
            listener: hears of the progress.
            callback: is called after every step.

        Returns:
            The epoch before whose step the factors left were so (after the last step, one more than
            there are), and how well they do on the held-out ratings, where there are some.

        Raises:
            DivergedError: the cost or the factors are no longer finite; the last good factors are left.
            TrainingError: the replicas of X drifted apart.
            CofiError: what `between` raised.
        """
        state, best = self.state, self.state.best
        if best.epoch is None and state.epoch:
            best.update(state.epoch + 1, None)
        listener.on_start(self._total(state.optimizer.error(with_cost=True)), state.epoch)
        finished = self._steps(listener, callback or NoCallback())
        last_is_best = finished and self._judge_last(listener)
        if self._validation and not last_is_best:
            best.restore()
            listener.info(f"restored the factors of epoch {best.epoch}: {best.accuracy}")
        if self._validation is None or best.epoch is None:
            return state.epoch + 1, None
        return best.epoch, best.accuracy

    def _steps(self, listener: ProgressListener, callback: StepCallback) -> bool:
        """Take the steps; returns whether all of them."""
        state = self.state
        start = time.perf_counter() - state.seconds
        for epoch in range(state.epoch + 1, self._settings.epochs + 1):
            if state.optimizer.is_converged:  # before a step: also where a run goes on after its last one
                part = self._settings.tolerance
                listener.info(f"converged in epoch {state.epoch}: J changed by less than {part:g} of itself")
                break
            prints = epoch == 1 or epoch % self._settings.log_every == 0 or self._validates(epoch)
            if prints:
                error = state.optimizer.error(with_cost=True)
                listener.on_metrics(self._measure(epoch, self._total(error), start))
                if self._gives_up(epoch, listener):
                    callback.finish(state)
                    return False
                self._step()
            else:
                self._epoch()
            state.epoch, state.seconds = epoch, time.perf_counter() - start
            listener.on_step(epoch)
            callback.after_step(state)
        else:
            self._say_if_unconverged(listener)
        self._require_finite()
        callback.finish(state)
        return True

    def _say_if_unconverged(self, listener: ProgressListener) -> None:
        """All epochs are over, where fewer might have been enough."""
        part, epochs = self._settings.tolerance, self._settings.epochs
        if part is not None and not self.state.optimizer.is_converged:
            listener.info(
                f"not converged in {counted(epochs, 'epoch')}: J still changes by more than {part:g} of"
                " itself in an epoch; a higher train.epochs goes further"
            )

    def _unprinted(self) -> None:
        self.state.optimizer.error(with_cost=False)
        self._step()

    def _step(self) -> None:
        run_step(self.state.optimizer.step(), self._sums.all_reduce_)

    def _total(self, error: Tensor | None) -> float:
        """J over all ranks, summed as the notebook sums it."""
        assert error is not None
        regulariser, sums = self._regulariser, self._cost.sums
        user_squares = regulariser.user_squares(self.state.factors, sums)
        value, W2, b2 = self._sums.all_reduce_scalars(error, *user_squares)
        J: Tensor = value + regulariser.value((W2, b2), self.state.factors, sums)
        return J.item()

    def _validates(self, epoch: int) -> bool:
        return self._validation is not None and self._validation.is_due(epoch)

    def _measure(self, epoch: int, cost: float, start: float) -> EpochMetrics:
        """What is printed of an epoch; the factors are kept if they are the best so far."""
        # first: replicas that drifted may agree neither on the cost nor on what to do about it
        self._comm.require_replicated(self.state.factors.X, "X")
        if not math.isfinite(cost):
            raise self._diverged(epoch, f"the cost is {cost}")
        # a finite cost has finite factors: it holds every entry's square, and 0 * inf is nan
        accuracy = self._accuracy() if self._validates(epoch) else None
        self.state.best.update(epoch, accuracy)
        seconds = time.perf_counter() - start
        speed = self._num_ratings * epoch / seconds
        if accuracy is None:
            return EpochMetrics(epoch, cost, seconds, speed)
        return EpochMetrics(epoch, cost, seconds, speed, accuracy.rmse, accuracy.mae)

    def _accuracy(self) -> Accuracy:
        assert self._validation is not None
        return self._validation.accuracy(self.state.factors, self._sums)

    def _gives_up(self, epoch: int, listener: ProgressListener) -> bool:
        best, patience = self.state.best, None if self._validation is None else self._validation.patience
        if patience is None or best.validations_since_best < patience or best.accuracy is None:
            return False
        listener.info(
            f"stopped at epoch {epoch}: {counted(best.validations_since_best, 'validation')} without a lower"
            f" RMSE than epoch {best.epoch}'s {best.accuracy.rmse:.4f}"
        )
        return True

    def _judge_last(self, listener: ProgressListener) -> bool:
        """Look at what the last step left, which no epoch prints; returns whether it is the best."""
        if self._validation is None:
            return False
        accuracy = self._accuracy()
        listener.info(f"after the last step: {accuracy}")
        return self.state.best.update(self.state.epoch + 1, accuracy)

    def _require_finite(self) -> None:
        self._comm.require_replicated(self.state.factors.X, "X")
        (bad_ranks,) = self._comm.all_reduce_scalars(tensor([float(not self.state.is_finite)]))
        if bad_ranks.item():
            raise self._diverged(self.state.epoch, "the factors are no longer finite")

    def _diverged(self, epoch: int, what: str) -> DivergedError:
        """The error to raise, once the last good factors are back."""
        best = self.state.best
        if best.epoch is not None:
            best.restore()
        return DivergedError(f"epoch {epoch}: {what}", best.epoch)
