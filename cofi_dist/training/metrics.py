"""Hold what is measured of an epoch: its cost, its speed, and its figures on held-out ratings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cofi_dist.config import Metric
from cofi_dist.ranking.metrics import TITLES as LIST_TITLES
from cofi_dist.words import counted

TITLES = {"rmse": "RMSE", "mae": "MAE", **LIST_TITLES}
ERRORS = ("rmse", "mae")


@dataclass(frozen=True)
class Criterion:
    """Say by which figure factors are judged.

    Attributes:
        metric: name of the figure.
        k: length of the lists that it judges; None for errors.
        users: about how many users' lists it judges; None for all, and for errors.
    """

    metric: Metric = "rmse"
    k: int | None = None
    users: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all figures that are measured, in the order in which they are shown."""
        return ERRORS if self.metric in ERRORS else (self.metric,)

    @property
    def better(self) -> str:
        """Return the word for a better figure."""
        return "lower" if self.metric in ERRORS else "higher"

    def title(self, name: str | None = None) -> str:
        """Return what a figure is called in messages, such as NDCG@10; that which decides by default."""
        return TITLES[name or self.metric] + ("" if self.k is None else f"@{self.k}")

    def is_better(self, figure: float, than: float) -> bool:
        """Tell whether a figure is better than another one; one that is not a number never is."""
        return figure < than if self.metric in ERRORS else figure > than

    def full_title(self, name: str | None = None) -> str:
        """Return a figure's title and, of a sample, of how many users it is."""
        return self.title(name) + ("" if self.users is None else f" of about {counted(self.users, 'user')}")

    def to_json(self) -> dict[str, int]:
        """Return what metrics.jsonl says about the lists that are judged; nothing for errors."""
        lists = {"validation_k": self.k, "validation_users": self.users}
        return {name: number for name, number in lists.items() if number is not None}

    def __str__(self) -> str:
        return self.full_title()


@dataclass(frozen=True)
class Accuracy:
    """Hold figures on the held-out ratings of all ranks; errors are in the ratings' own units.

    Attributes:
        figures: by name, those that the criterion names.
        criterion: says which of them decides.
    """

    figures: Mapping[str, float]
    criterion: Criterion = field(default_factory=Criterion)

    @property
    def deciding(self) -> float:
        """Return the figure that decides."""
        return self.figures[self.criterion.metric]

    @property
    def is_finite(self) -> bool:
        """Tell whether the figure that decides is a finite number."""
        return math.isfinite(self.deciding)

    def is_better_than(self, other: "Accuracy") -> bool:
        """Tell whether these factors are to be preferred."""
        return self.criterion.is_better(self.deciding, other.deciding)

    def to_json(self) -> dict[str, float]:
        """Return the figures by their names in metrics.jsonl and result.json."""
        return {f"validation_{name}": figure for name, figure in self.figures.items()}

    def __str__(self) -> str:
        shown = (f"{self.criterion.title(name)} {figure:.4f}" for name, figure in self.figures.items())
        return f"validation {', '.join(shown)}"


@dataclass(frozen=True)
class EpochMetrics:
    """Hold what is printed of an epoch.

    Attributes:
        epoch: counted from 1.
        cost: J over all ranks, before this epoch's step.
        seconds: time since training started.
        ratings_per_second: training ratings of all ranks processed per second, since training started.
        accuracy: of the same factors, if it was measured.
    """

    epoch: int
    cost: float
    seconds: float
    ratings_per_second: float
    accuracy: Accuracy | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the content of a line of metrics.jsonl."""
        names = ("epoch", "cost", "seconds", "ratings_per_second")
        line = {name: getattr(self, name) for name in names}
        accuracy = self.accuracy
        return line if accuracy is None else line | accuracy.to_json() | accuracy.criterion.to_json()
