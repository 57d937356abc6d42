"""Measure the error of a model by popularity of the item: the number of its training ratings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.splits import Part
from cofi_dist.errors import RunError
from cofi_dist.model import Model
from cofi_dist.model.predict import predict_pairs
from cofi_dist.sharding.ranges import balanced_ranges
from cofi_dist.streams import log_stderr

# Items fall into num_bins bins by their number of training ratings: 0, 1, 2 to 3, 4 to 7, ...
# M items, N ratings of a batch of users.
MAX_BINS = 64
BATCH_RATINGS = 2**20  # about so many ratings of all parts are loaded at once


@dataclass(frozen=True)
class ErrorByPopularity:
    """Hold errors on the ratings of one part, by bin.

    Attributes:
        part: `test`, or `validation`, or `train` if nothing was held out.
        count: number of ratings, (num_bins,); the last bin has some.
        squared, absolute: sums of errors over the ratings, (num_bins,), on the scale of the ratings.
    """

    part: Part
    count: NDArray[np.int64]
    squared: NDArray[np.float64]
    absolute: NDArray[np.float64]

    @property
    def rmse_by_bin(self) -> NDArray[np.float64]:
        """Return the RMSE of each bin, (num_bins,); nan in a bin without ratings."""
        squared = np.where(self.count > 0, self.squared, np.nan)
        return np.asarray(np.sqrt(squared / np.maximum(self.count, 1)))

    @property
    def rmse(self) -> float:
        """Return the RMSE over all ratings of the part."""
        return float(np.sqrt(self.squared.sum() / self.count.sum()))

    @property
    def mae(self) -> float:
        """Return the MAE over all ratings of the part."""
        return float(self.absolute.sum() / self.count.sum())


def bins_of(count: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin of each number of training ratings: 0, then one bin per power of two."""
    return np.frexp(count)[1].astype(np.intp)


def bin_name(number: int) -> str:
    """Return the range of the numbers of training ratings in a bin, as text."""
    low, high = 2**number // 2, 2**number - 1
    return str(high) if number < 2 else f"{_short(low)}-{_short(high)}"


def _short(count: int) -> str:
    return str(count) if count < 1000 else f"{round(count / 1024)}k"


def error_by_popularity(
    directory: Path, on_progress: Callable[[int, int], object] | None = None
) -> ErrorByPopularity:
    """Compute the error of a run's model on its held-out ratings, in batches of users.

    Args:
        directory: of a finished run.
        on_progress: called after each batch with the number of its users, and of all users.

    Raises:
        CofiError: the model or its ratings are missing or do not belong together, or the part holds no
            ratings.
    """
    model = Model.load(directory)
    rated = model.rated(directory)
    if rated.note:
        log_stderr(rated.note)
    part = next(part for part in ("test", "validation", "train") if part in rated.parts)
    bin_M = bins_of(model.item_counts.numpy())
    count, squared, absolute = np.zeros(MAX_BINS, np.int64), np.zeros(MAX_BINS), np.zeros(MAX_BINS)
    per_user = rated.source.ratings_per_user()
    for users in balanced_ranges(per_user, max(1, round(per_user.sum() / BATCH_RATINGS))):
        ratings = rated.load(users, part)
        user, item = ratings.user.astype(np.int64) + users.start, ratings.item.astype(np.int64)
        err_N, bin_N = predict_pairs(model.scorer, user, item) - ratings.value, bin_M[item]
        count += np.bincount(bin_N, minlength=MAX_BINS)
        squared += np.bincount(bin_N, err_N**2, MAX_BINS)
        absolute += np.bincount(bin_N, np.abs(err_N), MAX_BINS)
        if on_progress is not None:
            on_progress(len(users), len(per_user))
    if not count.any():
        raise RunError(f"{directory}: its {part} part holds no ratings")
    used = slice(0, int(np.flatnonzero(count)[-1]) + 1)
    return ErrorByPopularity(part, count[used], squared[used], absolute[used])
