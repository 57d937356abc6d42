"""Hold what is measured of an epoch: its cost, its speed, and its accuracy on held-out ratings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Accuracy:
    """Hold the errors on the held-out ratings of all ranks, in the ratings' own units.

    Attributes:
        rmse: root of the mean squared error.
        mae: mean absolute error.
    """

    rmse: float
    mae: float

    def __str__(self) -> str:
        return f"validation RMSE {self.rmse:.4f}, MAE {self.mae:.4f}"


@dataclass(frozen=True)
class EpochMetrics:
    """Hold what is printed of an epoch; the fields are those of a line of metrics.jsonl.

    Attributes:
        epoch: counted from 1.
        cost: J over all ranks, before this epoch's step.
        seconds: time since training started.
        ratings_per_second: training ratings of all ranks processed per second, since training started.
        validation_rmse, validation_mae: accuracy of the same factors, if it was measured.
    """

    epoch: int
    cost: float
    seconds: float
    ratings_per_second: float
    validation_rmse: float | None = None
    validation_mae: float | None = None
