"""How far off a model is on items that many, few and none have rated."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.shard import AT_ONCE
from cofi_dist.data.splits import Part
from cofi_dist.errors import RunError
from cofi_dist.model import Model
from cofi_dist.model.predict import predict_pairs
from cofi_dist.sharding.ranges import balanced_ranges
from cofi_dist.streams import log_stderr

# B bins of items by their training ratings: none, 1, 2 to 3, 4 to 7, ...; N ratings of a block.
MOST_BINS = 64


@dataclass(frozen=True)
class ByPopularity:
    """Errors on the ratings of one part, by bin.

    Attributes:
        part: `test`, or `validation`, or `train` where nothing is held out.
        count: ratings, (B,); the last bin has some.
        squared, absolute: sums over the ratings, (B,), on their scale.
    """

    part: Part
    count: NDArray[np.int64]
    squared: NDArray[np.float64]
    absolute: NDArray[np.float64]

    @property
    def rmse_by_bin(self) -> NDArray[np.float64]:
        """(B,); nan in a bin without ratings."""
        squared = np.where(self.count > 0, self.squared, np.nan)
        return np.asarray(np.sqrt(squared / np.maximum(self.count, 1)))

    @property
    def rmse(self) -> float:
        """Over all ratings of the part."""
        return float(np.sqrt(self.squared.sum() / self.count.sum()))

    @property
    def mae(self) -> float:
        """Over all ratings of the part."""
        return float(self.absolute.sum() / self.count.sum())


def bin_of(count: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each number of training ratings: 0, then one for every power of two."""
    return np.frexp(count)[1].astype(np.intp)


def bin_name(number: int) -> str:
    """The numbers of training ratings that fall into a bin."""
    low, high = 2**number // 2, 2**number - 1
    return str(high) if number < 2 else f"{_short(low)}-{_short(high)}"


def _short(count: int) -> str:
    return str(count) if count < 1000 else f"{round(count / 1024)}k"


def error_by_popularity(directory: Path, tell: Callable[[int, int], object] | None = None) -> ByPopularity:
    """The error of a run's model on the ratings that it held out, in blocks of users.

    Args:
        directory: of a finished run.
        tell: is told after each block how many users it had, and how many there are.

    Raises:
        CofiError: the model or its ratings are not there, or don't belong together; or there are
            no ratings to judge by.
    """
    model = Model.load(directory)
    rated = model.rated(directory)
    if rated.note:
        log_stderr(rated.note)
    part = next(part for part in ("test", "validation", "train") if part in rated.parts)
    bin_M = bin_of(model.item_counts.numpy())
    count, squared, absolute = np.zeros(MOST_BINS, np.int64), np.zeros(MOST_BINS), np.zeros(MOST_BINS)
    per_user = rated.source.ratings_per_user()
    for users in balanced_ranges(per_user, max(1, round(per_user.sum() / AT_ONCE))):
        ratings = rated.load(users, part)
        user, item = ratings.user.astype(np.int64) + users.start, ratings.item.astype(np.int64)
        err_N, bin_N = predict_pairs(model.scorer, user, item) - ratings.value, bin_M[item]
        count += np.bincount(bin_N, minlength=MOST_BINS)
        squared += np.bincount(bin_N, err_N**2, MOST_BINS)
        absolute += np.bincount(bin_N, np.abs(err_N), MOST_BINS)
        if tell is not None:
            tell(len(users), len(per_user))
    if not count.any():
        raise RunError(f"{directory}: its {part} part holds no ratings")
    used = slice(0, int(np.flatnonzero(count)[-1]) + 1)
    return ByPopularity(part, count[used], squared[used], absolute[used])
