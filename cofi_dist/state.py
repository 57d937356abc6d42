"""State: all that a run has learnt so far, as rows that a checkpoint may cut anywhere."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cofi_dist.factors import Factors
from cofi_dist.optim.adam import Adam
from cofi_dist.validation import Accuracy, Kept

OF_USERS, OF_ITEMS = ("W", "b"), ("X", "c")


@dataclass
class State:
    """One rank's part of a run between two steps.

    Attributes:
        factors: X and c, equal on all ranks, and W and b of this rank's users.
        adam: whose moments belong to it.
        kept: the best factors so far.
        epoch: steps taken.
        seconds: spent on them.
    """

    factors: Factors
    adam: Adam
    kept: Kept
    epoch: int = 0
    seconds: float = 0.0

    def rows(self, letters: tuple[str, ...]) -> dict[str, Tensor]:
        """Views of the tensors of these factors, a row for each user or item: `W`, `W.mean`, ...

        `b` and `c`, (1, rows) elsewhere, are (rows,) here. `.best` are the factors that are kept.
        """
        found: dict[str, Tensor] = {}
        for letter, factor in self.factors.by_name.items():
            if letter not in letters:
                continue
            moments = self.adam.moments[letter]
            found |= {letter: factor, f"{letter}.mean": moments.mean, f"{letter}.square": moments.square}
            if self.kept.accuracy is not None:
                found[f"{letter}.best"] = self.kept.copies[letter]
        return {name: t[0] if name[0] in "bc" else t for name, t in found.items()}

    @property
    def numbers(self) -> dict[str, Any]:
        """All of it that is no tensor; JSON gives every float back bit for bit."""
        kept, best = self.kept, None
        if kept.accuracy is not None:
            rmse, mae = kept.accuracy.rmse, kept.accuracy.mae
            best = {"epoch": kept.epoch, "stale": kept.stale, "rmse": rmse, "mae": mae}
        return {"epoch": self.epoch, "seconds": self.seconds, "best": best}

    def begin_at(self, numbers: dict[str, Any]) -> None:
        """Take over `numbers` of an earlier state; then its tensors may be copied into `rows`."""
        self.epoch, self.seconds = numbers["epoch"], numbers["seconds"]
        self.adam.set_step(self.epoch)
        best = numbers["best"]
        if best is not None:
            self.kept.allocate()
            self.kept.epoch, self.kept.stale = best["epoch"], best["stale"]
            self.kept.accuracy = Accuracy(best["rmse"], best["mae"])

    @property
    def is_finite(self) -> bool:
        """Whether every factor is, on this rank."""
        return bool(torch.stack([t.isfinite().all() for t in self.factors.by_name.values()]).all())
