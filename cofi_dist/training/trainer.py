"""Run the training loop: the only place where the maths meets the communication."""

import math
import time

from torch import tensor

from cofi_dist.config import TrainSection
from cofi_dist.distributed.comm import Comm, Reducer
from cofi_dist.errors import TrainingError
from cofi_dist.factors import Factors
from cofi_dist.optim.base import Optimizer, Step, run_all, run_step
from cofi_dist.training.best_factors import BestFactors
from cofi_dist.training.callbacks import NoCallback, ProgressListener, StepCallback
from cofi_dist.training.metrics import Accuracy, EpochMetrics
from cofi_dist.training.state import State
from cofi_dist.training.validation import Validation
from cofi_dist.words import counted


class DivergedError(TrainingError):
    """Report that the cost or the factors are no longer finite; it is raised on every rank at once.

    Attributes:
        kept: the epoch whose factors (before its step) have been restored, or None if no epoch had a finite
            cost.
    """

    def __init__(self, message: str, kept: int | None) -> None:
        super().__init__(message, shared=True)
        self.kept = kept


class Trainer:
    """Minimise J over the users of all ranks, a full batch per epoch.

    Args:
        factors: this rank's rows of W and b, and X and c; moved in place.
        optimizer: moves them, along its cost on this rank's ratings.
        settings: `epochs`, `log_every` and `tolerance` are read.
        num_ratings: training ratings of all ranks.
        comm: the ranks.
        reducer: sums over the users of all ranks; the comm itself, or what adds in a fixed order.
        validation: this rank's held-out ratings; None for no validation.
        is_replicated: whether X and c are whole on every rank; else the factors are of its own items.

    Attributes:
        state: what has been learnt so far. Restore a checkpoint into it to resume a run.
    """

    def __init__(
        self,
        *,
        factors: Factors,
        optimizer: Optimizer,
        settings: TrainSection,
        num_ratings: int,
        comm: Comm,
        reducer: Reducer,
        validation: Validation | None = None,
        is_replicated: bool = True,
    ) -> None:
        self._is_replicated = is_replicated
        self._settings, self._num_ratings, self._validation = settings, num_ratings, validation
        self._comm, self._reducer = comm, reducer
        self.state = State(
            factors, optimizer, BestFactors(factors, validation.criterion if validation else None)
        )

    def run(
        self, listener: ProgressListener, callback: StepCallback | None = None
    ) -> tuple[int, Accuracy | None]:
        """Train until the last epoch, or until validation or convergence ends it.

        With validation, the factors are then set to the best ones. Collective: all ranks call it.

        Args:
            listener: receives reports.
            callback: is called after every step.

        Returns:
            The epoch before whose step the factors are as they are left (after the last step, one more than
            the number of epochs), and their accuracy on the held-out ratings, if there are any.

        Raises:
            DivergedError: the cost or the factors are no longer finite; the last good factors are restored.
            TrainingError: the replicas of X differ between ranks.
            CofiError: raised by the callback.
        """
        state, best = self.state, self.state.best
        if best.epoch is None and state.epoch:
            best.update(state.epoch + 1, None)
        # This step is only a way to J: it is dropped, and the loop prepares its own.
        listener.on_start(self._cost(state.optimizer.prepare_step(with_cost=True)), state.epoch)
        is_complete = self._run_epochs(listener, callback or NoCallback())
        last_is_best = is_complete and self._validate_last(listener)
        if self._validation and not last_is_best:
            best.restore()
            listener.info(f"restored the factors of epoch {best.epoch}: {best.accuracy}")
        if self._validation is None or best.epoch is None:
            return state.epoch + 1, None
        return best.epoch, best.accuracy

    def require_finite_factors(self) -> None:
        """Check the factors after the last step. Collective: all ranks call it.

        Raises:
            DivergedError: they are not finite; the last good factors are restored.
            TrainingError: the replicas of X differ between ranks.
        """
        self._require_replicas()
        (bad_ranks,) = self._comm.all_reduce_scalars(tensor([float(not self.state.has_finite_factors)]))
        if bad_ranks.item():
            raise self._diverged(self.state.epoch, "the factors are no longer finite")

    def _require_replicas(self) -> None:
        if self._is_replicated:
            self._comm.require_replicated(self.state.factors.X, "X")

    def _run_epochs(self, listener: ProgressListener, callback: StepCallback) -> bool:
        """Take the steps, and return False if validation ended them early."""
        state = self.state
        start = time.perf_counter() - state.seconds
        for epoch in range(state.epoch + 1, self._settings.epochs + 1):
            # Asked before a step, because a run may be resumed after its last one.
            if state.optimizer.is_converged:
                part = self._settings.tolerance
                listener.info(f"converged in epoch {state.epoch}: J changed by less than {part:g} of itself")
                break
            is_printed = epoch == 1 or epoch % self._settings.log_every == 0 or self._is_validated(epoch)
            step = state.optimizer.prepare_step(with_cost=is_printed)
            if is_printed:
                listener.on_metrics(self._measure(epoch, self._cost(step), start))
                if self._is_out_of_patience(epoch, listener):
                    callback.finish(state)
                    return False
            run_step(step, self._reducer)
            state.epoch, state.seconds = epoch, time.perf_counter() - start
            listener.on_step(epoch)
            callback.after_step(state)
        else:
            self._warn_if_not_converged(listener)
        self.require_finite_factors()
        callback.finish(state)
        return True

    def _cost(self, step: Step) -> float:
        """Return J over all ranks before this step, summed as the notebook sums it."""
        run_all(step.evaluation, self._reducer)
        assert step.half_squared_error is not None
        objective, factors = self.state.optimizer.objective, self.state.factors
        user_squares = objective.user_squares(factors)
        half, W2, b2 = self._reducer.all_reduce_scalars(step.half_squared_error, *user_squares)
        item_squares = step.item_squares or objective.item_squares(factors)
        return objective.value(half, (W2, b2), item_squares).item()

    def _is_validated(self, epoch: int) -> bool:
        return self._validation is not None and self._validation.is_due(epoch)

    def _measure(self, epoch: int, cost: float, start: float) -> EpochMetrics:
        """Validate the factors if that is due, keep them if they are the best so far, and return metrics."""
        # This comes first: ranks whose replicas differ may disagree on the cost and on what follows from it.
        self._require_replicas()
        if not math.isfinite(cost):
            raise self._diverged(epoch, f"the cost is {cost}")
        # Factors of a finite cost are finite: the cost holds every entry's square, and 0 * inf is nan.
        accuracy = self._accuracy() if self._is_validated(epoch) else None
        self.state.best.update(epoch, accuracy)
        seconds = time.perf_counter() - start
        speed = self._num_ratings * epoch / seconds
        return EpochMetrics(
            epoch=epoch,
            cost=cost,
            seconds=seconds,
            ratings_per_second=speed,
            accuracy=accuracy,
        )

    def _accuracy(self) -> Accuracy:
        assert self._validation is not None
        return self._validation.accuracy(self.state.factors, self._reducer)

    def _is_out_of_patience(self, epoch: int, listener: ProgressListener) -> bool:
        best, patience = self.state.best, None if self._validation is None else self._validation.patience
        if patience is None or best.validations_since_best < patience or best.accuracy is None:
            return False
        criterion, figure = best.accuracy.criterion, best.accuracy.deciding
        listener.info(
            f"stopped at epoch {epoch}: {counted(best.validations_since_best, 'validation')} without a"
            f" {criterion.better} {criterion.title()} than epoch {best.epoch}'s {figure:.4f}"
        )
        return True

    def _validate_last(self, listener: ProgressListener) -> bool:
        """Validate the factors after the last step, and return whether they are the best."""
        if self._validation is None:
            return False
        accuracy = self._accuracy()
        listener.info(f"after the last step: {accuracy}")
        return self.state.best.update(self.state.epoch + 1, accuracy)

    def _warn_if_not_converged(self, listener: ProgressListener) -> None:
        """Report if a tolerance was asked for that all the epochs did not reach."""
        part, epochs = self._settings.tolerance, self._settings.epochs
        if part is not None and not self.state.optimizer.is_converged:
            listener.info(
                f"not converged in {counted(epochs, 'epoch')}: J still changes by more than {part:g} of"
                " itself in an epoch; a higher train.epochs goes further"
            )

    def _diverged(self, epoch: int, what: str) -> DivergedError:
        """Restore the last good factors, if there are any, and return the error to raise."""
        best = self.state.best
        if best.epoch is not None:
            best.restore()
        return DivergedError(f"epoch {epoch}: {what}", best.epoch)
