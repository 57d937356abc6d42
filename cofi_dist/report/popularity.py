"""Measure how good a model is by popularity of the item: the number of its training ratings.

For ratings, this is the error of predictions. For events, it is how many of the held-out ones lists find.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.splits import Part
from cofi_dist.errors import RunError
from cofi_dist.model import Model, RunRatings
from cofi_dist.model.predict import predict_pairs
from cofi_dist.model.scoring import user_batches
from cofi_dist.ranking.metrics import rank_users
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.top_k import TopK
from cofi_dist.report.calibration import NUM_BINS, SUMS, Calibration, calibration_sums
from cofi_dist.sharding.ranges import balanced_ranges
from cofi_dist.streams import log_stderr

# Items fall into num_bins bins by their number of training ratings: 0, 1, 2 to 3, 4 to 7, ...
# M items, N ratings of a batch of users.
MAX_BINS = 64
BATCH_RATINGS = 2**20  # about so many ratings of all parts are loaded at once

OnProgress = Callable[[int, int], object]


class ByPopularity(Protocol):
    """Hold figures on the ratings or events of one part, by bin."""

    @property
    def part(self) -> Part:
        """Return `test`, or `validation`, or `train` if no ratings were held out."""
        ...

    @property
    def noun(self) -> str:
        """Return `rating` or `event`."""
        ...

    @property
    def title(self) -> str:
        """Return the name of the figure that each bin has."""
        ...

    @property
    def caption(self) -> str:
        """Return a sentence or two on how to read a picture of it."""
        ...

    @property
    def count(self) -> NDArray[np.int64]:
        """Return the number of ratings or events, (num_bins,); the last bin has some."""
        ...

    @property
    def by_bin(self) -> NDArray[np.float64]:
        """Return the figure of each bin, (num_bins,); nan in a bin without ratings."""
        ...

    @property
    def overall(self) -> float:
        """Return the figure over all bins."""
        ...

    @property
    def figures(self) -> dict[str, float]:
        """Return the figures over all bins by name, for a table."""
        ...


@dataclass(frozen=True)
class ErrorByPopularity:
    """Hold errors on the ratings of one part, by bin.

    Attributes:
        part: `test`, or `validation`, or `train` if nothing was held out.
        count: number of ratings, (num_bins,); the last bin has some.
        squared, absolute: sums of errors over the ratings, (num_bins,), on the scale of the ratings.
        calibration: what was predicted beside what was given; None if unknown.
    """

    part: Part
    count: NDArray[np.int64]
    squared: NDArray[np.float64]
    absolute: NDArray[np.float64]
    calibration: Calibration | None = None

    noun = "rating"
    title = "RMSE"
    caption = (
        "Each point is the RMSE over the ratings of the items with that many training ratings. Items with few"
        " training ratings are usually the hardest. A point over few ratings says little."
    )

    @property
    def by_bin(self) -> NDArray[np.float64]:
        """Return the RMSE of each bin, (num_bins,); nan in a bin without ratings."""
        squared = np.where(self.count > 0, self.squared, np.nan)
        return np.asarray(np.sqrt(squared / np.maximum(self.count, 1)))

    @property
    def overall(self) -> float:
        """Return the RMSE over all ratings of the part."""
        return float(np.sqrt(self.squared.sum() / self.count.sum()))

    @property
    def figures(self) -> dict[str, float]:
        """Return the RMSE and the MAE over all ratings of the part."""
        return {"RMSE": self.overall, "MAE": float(self.absolute.sum() / self.count.sum())}


@dataclass(frozen=True)
class FoundByPopularity:
    """Hold how many held-out events lists find, by bin.

    Attributes:
        part: `test` or `validation`.
        k: length of a list.
        count: number of events, (num_bins,); the last bin has some.
        found: number of those whose item is in the list of their user, (num_bins,).
    """

    part: Part
    k: int
    count: NDArray[np.int64]
    found: NDArray[np.int64]

    noun = "event"

    @property
    def title(self) -> str:
        """Return the name of the share of events that are found."""
        return f"Found in lists of {self.k}"

    @property
    def caption(self) -> str:
        """Return how to read a picture of the shares."""
        return (
            f"Each point is the share of the {self.part} events that are in the lists of {self.k} of their"
            " users, among the items with that many training events. Popular items are usually found more"
            " often. A point over few events says little."
        )

    @property
    def by_bin(self) -> NDArray[np.float64]:
        """Return the share of each bin, (num_bins,); nan in a bin without events."""
        return np.asarray(np.where(self.count > 0, self.found / np.maximum(self.count, 1), np.nan))

    @property
    def overall(self) -> float:
        """Return the share of all events of the part."""
        return float(self.found.sum() / self.count.sum())

    @property
    def figures(self) -> dict[str, float]:
        """Return the share of all events of the part."""
        return {self.title: self.overall}


def bins_of(count: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin of each number of training ratings: 0, then one bin per power of two."""
    return np.frexp(count)[1].astype(np.intp)


def bin_name(number: int) -> str:
    """Return the range of the numbers of training ratings in a bin, as text."""
    low, high = 2**number // 2, 2**number - 1
    return str(high) if number < 2 else f"{_short(low)}-{_short(high)}"


def _short(count: int) -> str:
    return str(count) if count < 1000 else f"{round(count / 1024)}k"


def by_popularity(directory: Path, on_progress: OnProgress | None = None) -> ByPopularity:
    """Judge a run's model on its held-out ratings or events, in batches of users.

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
    if not model.facts.is_implicit:
        part = next(part for part in ("test", "validation", "train") if part in rated.parts)
        calibration = np.zeros((SUMS, NUM_BINS))
        errors = _errors(model, rated, part, calibration, on_progress)
        count, squared, absolute = _sums(errors, directory, part)
        means = Calibration.of_sums(calibration)
        return ErrorByPopularity(part, count.astype(np.int64), squared, absolute, means)
    held_out = [part for part in ("test", "validation") if part in rated.parts]
    if not held_out:
        raise RunError(f"{directory}: no events were held out that lists could find")
    part, k = held_out[0], model.config.validation.list_length
    count, found = _sums(_finds(model, rated, part, k, on_progress), directory, part)
    return FoundByPopularity(part, k, count.astype(np.int64), found.astype(np.int64))


def _sums(batches: Iterator[NDArray[np.float64]], directory: Path, part: Part) -> NDArray[np.float64]:
    """Add up the sums of all batches, and leave out the bins after the last one with ratings.

    Raises:
        RunError: there are no ratings.
    """
    total = np.sum(list(batches), axis=0)
    if not total[0].any():
        raise RunError(f"{directory}: its {part} part holds no ratings")
    used: NDArray[np.float64] = total[:, : int(np.flatnonzero(total[0])[-1]) + 1]
    return used


def _errors(
    model: Model,
    rated: RunRatings,
    part: Part,
    calibration: NDArray[np.float64],
    on_progress: OnProgress | None,
) -> Iterator[NDArray[np.float64]]:
    """Yield the number, and the sums of squared and absolute errors, of each batch's ratings by bin.

    The sums of `calibration_sums` are added to `calibration`.
    """
    bin_M = bins_of(model.arrays.item_counts)
    per_user = rated.source.ratings_per_user()
    for users in balanced_ranges(per_user, max(1, round(per_user.sum() / BATCH_RATINGS))):
        ratings = rated.load(users, part)
        user, item = ratings.user.astype(np.int64) + users.start, ratings.item.astype(np.int64)
        predicted_N = predict_pairs(model.scorer, user, item)
        calibration += calibration_sums(predicted_N, ratings.value, model.facts.lowest, model.facts.highest)
        err_N, bin_N = predicted_N - ratings.value, bin_M[item]
        weights = (None, err_N**2, np.abs(err_N))
        yield np.stack([np.bincount(bin_N, weight, MAX_BINS) for weight in weights])
        if on_progress is not None:
            on_progress(len(users), len(per_user))


def _finds(
    model: Model, rated: RunRatings, part: Part, k: int, on_progress: OnProgress | None
) -> Iterator[NDArray[np.float64]]:
    """Yield the number of each batch's events by bin, and of those whose item is in their user's list."""
    scorer, num_items = model.scorer, len(model.items)
    bin_M = bins_of(model.arrays.item_counts)
    ranker = Ranker(scorer.X, scorer.offset)
    for users in user_batches(len(model.users), min(k, num_items)):
        held_out, training = (
            UserItemPairs(ratings.user.astype(np.int64), ratings.item.astype(np.int64))
            for ratings in (rated.load(users, part), rated.load(users))
        )

        def best(rows: NDArray[np.int64], left_out: UserItemPairs, start: int = users.start) -> TopK:
            return ranker.best(*scorer.user_factors(rows + start), k, left_out)

        ranked = rank_users(best, held_out, training, (len(users), num_items), k)
        listed = UserItemPairs(ranked.users[ranked.lists.user], ranked.lists.item)
        is_found_N, bin_N = held_out.isin(listed, num_items), bin_M[held_out.item]
        yield np.stack([np.bincount(bin_N, weight, MAX_BINS) for weight in (None, is_found_N)])
        if on_progress is not None:
            on_progress(len(users), len(model.users))
