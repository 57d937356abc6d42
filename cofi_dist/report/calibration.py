"""Compare predicted ratings with the held-out ones, in bins of what was predicted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 20  # of equal widths, from the lowest to the highest training rating
SUMS = 4  # the number of rows of `calibration_sums`


@dataclass(frozen=True)
class Calibration:
    """Hold what was predicted and what was given, by bin of the prediction; bins without ratings left out.

    Attributes:
        count: number of ratings.
        predicted: mean prediction.
        actual: mean rating.
        error: standard error of that mean; nan for a single rating.
    """

    count: NDArray[np.int64]
    predicted: NDArray[np.float64]
    actual: NDArray[np.float64]
    error: NDArray[np.float64]

    @classmethod
    def of_sums(cls, sums: NDArray[np.float64]) -> "Calibration":
        """Return the means of sums that `calibration_sums` returned."""
        count, predicted, actual, squared = sums[:, sums[0] > 0]
        with np.errstate(all="ignore"):
            variance = np.maximum(squared - actual**2 / count, 0) / (count - 1)
            error = np.where(count > 1, np.sqrt(variance / count), np.nan)
        return cls(count.astype(np.int64), predicted / count, actual / count, error)

    @property
    def mean_gap(self) -> float:
        """Return the mean distance of prediction and rating over bins, weighted by their ratings."""
        return float((self.count * np.abs(self.predicted - self.actual)).sum() / self.count.sum())


def calibration_sums(
    predicted: NDArray[np.float64], actual: NDArray[np.floating], lowest: float, highest: float
) -> NDArray[np.float64]:
    """Return by bin the number of ratings, and the sums of predictions, of ratings and of their squares.

    Args:
        predicted: on the scale of the ratings, within its limits.
        actual: the ratings.
        lowest: limit of the scale.
        highest: the other limit.
    """
    width = (highest - lowest) or 1.0
    bin_N = np.clip(((predicted - lowest) / width * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
    value = actual.astype(np.float64)
    weights = (None, predicted, value, value**2)
    return np.stack([np.bincount(bin_N, weight, NUM_BINS) for weight in weights])
