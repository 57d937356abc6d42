"""A copy of the best factors so far."""

import math

import torch
from torch import Tensor

from cofi_dist.factors import Factors
from cofi_dist.training.metrics import Accuracy


class BestFactors:
    """A copy of the best factors so far: those of the lowest RMSE; before any is known, the latest.

    Args:
        factors: this rank's, whose copies are kept and which `restore` sets back.

    Attributes:
        copies: what is kept of each factor, by its letter; empty where nothing is.
        epoch: before whose step the factors were so; None where nothing is kept.
        accuracy: theirs, where it was measured.
        validations_since_best: validations since the best.
    """

    def __init__(self, factors: Factors) -> None:
        self._factors = factors.by_name
        self.copies: dict[str, Tensor] = {}
        self.epoch: int | None = None
        self.accuracy: Accuracy | None = None
        self.validations_since_best = 0

    def update(self, epoch: int, accuracy: Accuracy | None) -> bool:
        """Keep the factors as they are now if they are the best; returns whether.

        Every rank decides alike, from the same accuracy.

        Args:
            epoch: before whose step they are so.
            accuracy: where it was measured; one that is no number is none.
        """
        best, is_measured = self.accuracy, accuracy is not None
        if accuracy is not None and not math.isfinite(accuracy.rmse):
            accuracy = None
        if best is not None and (accuracy is None or not accuracy.rmse < best.rmse):
            self.validations_since_best += is_measured
            return False
        self.allocate()
        for name, copy in self.copies.items():
            copy.copy_(self._factors[name])
        self.epoch, self.accuracy, self.validations_since_best = epoch, accuracy, 0
        return True

    def restore(self) -> None:
        """Set the factors back to what is kept."""
        assert self.copies
        for name, copy in self.copies.items():
            self._factors[name].copy_(copy)

    def allocate(self) -> None:
        """Make room for the copies."""
        if not self.copies:
            self.copies = {name: torch.empty_like(factor) for name, factor in self._factors.items()}
