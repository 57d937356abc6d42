"""Keep a copy of the best factors so far."""

import torch
from torch import Tensor

from cofi_dist.factors import Factors
from cofi_dist.training.metrics import Accuracy, Criterion


class BestFactors:
    """Keep a copy of the factors with the best accuracy or, until one is known, of the latest ones.

    Args:
        factors: this rank's factors, which are copied and can be restored.
        criterion: by which figure they are compared; None if none is measured.

    Attributes:
        criterion: as given.
        copies: the copy of each factor, by name; empty if nothing is kept yet.
        epoch: the epoch before whose step the copies were made; None if nothing is kept yet.
        accuracy: the accuracy of the copies; None if it was not measured.
        validations_since_best: how many validations have not improved on it.
    """

    def __init__(self, factors: Factors, criterion: Criterion | None = None) -> None:
        self._factors, self.criterion = factors.by_name, criterion
        self.copies: dict[str, Tensor] = {}
        self.epoch: int | None = None
        self.accuracy: Accuracy | None = None
        self.validations_since_best = 0

    def update(self, epoch: int, accuracy: Accuracy | None) -> bool:
        """Copy the factors if they are the best so far, and return whether they are.

        Every rank comes to the same decision, because all have the same accuracy.

        Args:
            epoch: the epoch before whose step the factors are as they are now.
            accuracy: None if it was not measured. One that is not finite never counts as best.
        """
        was_measured = accuracy is not None
        if accuracy is not None and not accuracy.is_finite:
            accuracy = None
        if self.accuracy is not None and (accuracy is None or not accuracy.is_better_than(self.accuracy)):
            self.validations_since_best += was_measured
            return False
        self.allocate()
        for name, copy in self.copies.items():
            copy.copy_(self._factors[name])
        self.epoch, self.accuracy, self.validations_since_best = epoch, accuracy, 0
        return True

    def restore(self) -> None:
        """Set the factors back to the copies."""
        assert self.copies
        for name, copy in self.copies.items():
            self._factors[name].copy_(copy)

    def allocate(self) -> None:
        """Allocate memory for the copies, unless they have some already."""
        if not self.copies:
            self.copies = {name: torch.empty_like(factor) for name, factor in self._factors.items()}
