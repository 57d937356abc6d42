"""What is measured of an epoch: its cost, its speed, its accuracy on held-out ratings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Accuracy:
    """Errors on the held-out ratings of all ranks, on their scale.

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
