"""Hold all that a run has learnt so far, as rows that a checkpoint may cut anywhere."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from cofi_dist.factors import Factors
from cofi_dist.optim.base import Optimizer
from cofi_dist.training.best_factors import BestFactors
from cofi_dist.training.metrics import Accuracy, Criterion

# Names of the factors with a row for each user, and of those with a row for each item.
USER_FACTORS, ITEM_FACTORS = ("W", "b"), ("X", "c")


@dataclass
class State:
    """Hold one rank's part of a run, as it is between two steps.

    Attributes:
        factors: X and c, equal on all ranks, and W and b of this rank's users.
        optimizer: moves the factors; its state is part of this one.
        best: the best factors so far.
        epoch: the number of steps taken.
        seconds: the time spent on them.
    """

    factors: Factors
    optimizer: Optimizer
    best: BestFactors
    epoch: int = 0
    seconds: float = 0.0

    def row_tensors(self, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Return views of all tensors that belong to the named factors, one row for each user or item.

        Keys are `W` for the factor itself, `W.mean` and the like for the optimiser's state, and `W.best` for
        the best factor, if its accuracy is known. The biases, (1, rows) elsewhere, are (rows,) here.
        """
        biases, views = self.factors.biases(), dict[str, Tensor]()
        for name, factor in self.factors.by_name.items():
            if name not in names:
                continue
            tensors = {name: factor}
            tensors |= {f"{name}.{part}": rows for part, rows in self.optimizer.row_tensors(name).items()}
            if self.best.accuracy is not None:
                tensors[f"{name}.best"] = self.best.copies[name]
            views |= {key: tensor[0] if name in biases else tensor for key, tensor in tensors.items()}
        return views

    @property
    def scalars(self) -> dict[str, Any]:
        """Return the state that is not a tensor; JSON restores each float of it bit for bit."""
        best = self.best
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "best": None
            if best.accuracy is None
            else {
                "epoch": best.epoch,
                "stale": best.validations_since_best,
                **_record(best.accuracy),
            },
            "optimizer": self.optimizer.scalars,
        }

    def restore_scalars(self, scalars: dict[str, Any]) -> None:
        """Restore what `scalars` returned; the caller then copies the tensors into those of `row_tensors`."""
        self.epoch, self.seconds = scalars["epoch"], scalars["seconds"]
        self.optimizer.restore_scalars(self.epoch, scalars["optimizer"])
        best, ours = scalars["best"], self.best.criterion
        # A figure by another criterion cannot be compared: the search for the best epoch begins anew. If
        # nothing is measured any more, the best is kept for a run that goes on with validation.
        if best is not None and (accuracy := _accuracy(best)).criterion == (ours or accuracy.criterion):
            self.best.allocate()
            self.best.epoch, self.best.validations_since_best = best["epoch"], best["stale"]
            self.best.accuracy = accuracy

    @property
    def has_finite_factors(self) -> bool:
        """Return whether every number of this rank's factors is finite."""
        return _are_finite(self.factors.tensors)

    @property
    def is_finite(self) -> bool:
        """Return whether every number is finite that a checkpoint would hold, not only the factors."""
        return _are_finite(self.row_tensors((*USER_FACTORS, *ITEM_FACTORS)).values())


def _record(accuracy: Accuracy) -> dict[str, Any]:
    """Return an accuracy as a checkpoint holds it; that of RMSE is as it was before there were others."""
    criterion = accuracy.criterion
    if criterion == Criterion():
        return dict(accuracy.figures)
    return {"figures": dict(accuracy.figures), "criterion": asdict(criterion)}


def _accuracy(record: dict[str, Any]) -> Accuracy:
    """Return the accuracy of which `_record` returned the record."""
    if "criterion" not in record:
        return Accuracy({"rmse": record["rmse"], "mae": record["mae"]})
    return Accuracy(record["figures"], Criterion(**record["criterion"]))


def _are_finite(tensors: Iterable[Tensor]) -> bool:
    # A sum is five times as fast. Only if it is not finite, which may be overflow, is each entry looked at.
    return all(bool(t.sum().isfinite()) or bool(t.isfinite().all()) for t in tensors)
