"""State: all that a run has learnt so far, as rows that a checkpoint may cut anywhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from cofi_dist.factors import Factors
from cofi_dist.optim.base import Optimizer
from cofi_dist.training.best_factors import BestFactors
from cofi_dist.training.metrics import Accuracy

USER_FACTORS, ITEM_FACTORS = ("W", "b"), ("X", "c")


@dataclass
class State:
    """One rank's part of a run between two steps.

    Attributes:
        factors: X and c, equal on all ranks, and W and b of this rank's users.
        optimizer: whose state belongs to it.
        best: the best factors so far.
        epoch: steps taken.
        seconds: spent on them.
    """

    factors: Factors
    optimizer: Optimizer
    best: BestFactors
    epoch: int = 0
    seconds: float = 0.0

    def row_tensors(self, letters: tuple[str, ...]) -> dict[str, Tensor]:
        """Views of the tensors of these factors, a row for each user or item: `W`, `W.mean`, ...

        `b` and `c`, (1, rows) elsewhere, are (rows,) here. `.best` are the factors that are kept.
        """
        found: dict[str, Tensor] = {}
        for letter, factor in self.factors.by_name.items():
            if letter not in letters:
                continue
            beside = self.optimizer.row_tensors(letter)
            found |= {letter: factor, **{f"{letter}.{name}": rows for name, rows in beside.items()}}
            if self.best.accuracy is not None:
                found[f"{letter}.best"] = self.best.copies[letter]
        return {name: t[0] if name[0] in "bc" else t for name, t in found.items()}

    @property
    def scalars(self) -> dict[str, Any]:
        """All of it that is no tensor; JSON gives every float back bit for bit."""
        kept, best = self.best, None
        if kept.accuracy is not None:
            rmse, mae = kept.accuracy.rmse, kept.accuracy.mae
            best = {"epoch": kept.epoch, "stale": kept.validations_since_best, "rmse": rmse, "mae": mae}
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "best": best,
            "optimizer": self.optimizer.scalars,
        }

    def restore_scalars(self, numbers: dict[str, Any]) -> None:
        """Take over `numbers` of an earlier state; then its tensors may be copied into `rows`."""
        self.epoch, self.seconds = numbers["epoch"], numbers["seconds"]
        self.optimizer.restore_scalars(self.epoch, numbers["optimizer"])
        best = numbers["best"]
        if best is not None:
            self.best.allocate()
            self.best.epoch, self.best.validations_since_best = best["epoch"], best["stale"]
            self.best.accuracy = Accuracy(best["rmse"], best["mae"])

    @property
    def is_finite(self) -> bool:
        """Whether every factor is, on this rank."""
        return _are_finite(self.factors.by_name.values())

    @property
    def is_all_finite(self) -> bool:
        """Whether all that a checkpoint holds is: the factors, the best ones, and what moves them."""
        return _are_finite(self.row_tensors((*USER_FACTORS, *ITEM_FACTORS)).values())


def _are_finite(tensors: Iterable[Tensor]) -> bool:
    # a sum is five times as fast; only where it is not finite need each entry be looked at
    return all(bool(t.sum().isfinite()) or bool(t.isfinite().all()) for t in tensors)
