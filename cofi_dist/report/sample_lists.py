"""Take the lists of some users of a run: a few to read beside what they rated, more to see where lists go."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import starmap

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.splits import Part
from cofi_dist.model import Model, RunRatings
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.top_k import TopK
from cofi_dist.report.popularity import MAX_BINS, bins_of
from cofi_dist.sharding.ranges import UserRange

# The users that are shown: where they stand among all, from the one with the fewest training ratings on.
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
MOST_USERS = 1000  # of whose lists the places are counted

# U users that are shown, M items.


@dataclass(frozen=True)
class ListedItem:
    """Describe an item that a user has rated, or that is in their list.

    Attributes:
        item: raw id as text.
        title: empty if there is none.
        figure: what the user gave it, or what the model predicts; of events, the strength or the score.
        ratings: number of its training ratings.
        held_out: what the user gave it in the held-out part; None if it is not in it.
        score: what decides its place in a list: the prediction before it is clipped. In a history, nan.
    """

    item: str
    title: str
    figure: float
    ratings: int
    held_out: float | None
    score: float


@dataclass(frozen=True)
class SampleUser:
    """Hold one user's history beside their list.

    Attributes:
        user: raw id as text.
        num_ratings: number of training ratings.
        num_held_out: number of ratings in the held-out part.
        history: what they rated highest in training.
        listed: what the model lists for them, best first.
    """

    user: str
    num_ratings: int
    num_held_out: int
    history: tuple[ListedItem, ...]
    listed: tuple[ListedItem, ...]


@dataclass(frozen=True)
class SampleLists:
    """Hold the lists of some users.

    Attributes:
        k: length of a list.
        part: the held-out part that lists may find; None if nothing was held out.
        noun: `rating` or `event`.
        users: those that are shown, from the one with the fewest training ratings on.
        num_counted: number of users, spread evenly over all, whose lists' places are counted.
        places: shares of the places of their lists, by popularity of the item, (num_bins,).
        training: shares of the training ratings by popularity of the item, (num_bins,).
    """

    k: int
    part: Part | None
    noun: str
    users: tuple[SampleUser, ...]
    num_counted: int
    places: NDArray[np.float64]
    training: NDArray[np.float64]


def sample_lists(model: Model, rated: RunRatings, titles: Mapping[str, str], k: int) -> SampleLists:
    """Make lists for a few users, which leave out what those rated in training.

    Of the users, only the rows of these are read; of the items, all.

    Args:
        model: of the run.
        rated: the run's ratings.
        titles: by raw id as text.
        k: length of a list.
    """
    part = next((part for part in ("test", "validation") if part in rated.parts), None)
    best = _lists_maker(model, rated, k)
    counts_M = model.arrays.item_counts
    shown = [
        _sample_user(model, rated, part, titles, row, best(np.array([row])), k)
        for row in _users_to_show(model.arrays.user_counts).tolist()
    ]
    every = np.linspace(0, len(model.users) - 1, min(MOST_USERS, len(model.users))).astype(np.int64)
    listed = best(every).item
    bin_M = bins_of(counts_M)
    places = np.bincount(bin_M[listed], minlength=MAX_BINS)
    training = np.bincount(bin_M, counts_M, MAX_BINS)
    return SampleLists(
        k=k,
        part=part,
        noun=model.facts.noun,
        users=tuple(shown),
        num_counted=len(every),
        places=_shares(places),
        training=_shares(training),
    )


def _lists_maker(model: Model, rated: RunRatings, k: int) -> Callable[[NDArray[np.int64]], TopK]:
    scorer = model.scorer
    ranker = Ranker(scorer.X, scorer.offset)

    def best(rows: NDArray[np.int64]) -> TopK:
        loaded = [rated.load(UserRange(row, row + 1)).item.astype(np.int64) for row in rows.tolist()]
        user = np.repeat(np.arange(len(rows)), list(map(len, loaded)))
        return ranker.best(*scorer.user_factors(rows), k, UserItemPairs(user, np.concatenate(loaded)))

    return best


def _users_to_show(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows of users at QUANTILES of the number of training ratings, of those who have any."""
    order = np.argsort(counts, kind="stable")
    known = order[counts[order] > 0]
    places = np.unique([round(quantile * (len(known) - 1)) for quantile in QUANTILES] if len(known) else [])
    return known[places.astype(np.int64)]


def _sample_user(
    model: Model,
    rated: RunRatings,
    part: Part | None,
    titles: Mapping[str, str],
    row: int,
    best: TopK,
    k: int,
) -> SampleUser:
    one = UserRange(row, row + 1)
    training, counts_M = rated.load(one), model.arrays.item_counts
    held = {} if part is None else _values_by_item(rated, one, part)

    def described(item: int, figure: float, score: float = math.nan) -> ListedItem:
        raw = str(model.items.raw[item])
        return ListedItem(raw, titles.get(raw, ""), figure, int(counts_M[item]), held.get(item), score)

    highest = np.lexsort((-counts_M[training.item], -training.value))[:k]
    figures = best.score if model.facts.is_implicit else model.scorer.clip(best.score)
    listed = zip(best.item.tolist(), figures.tolist(), best.score.tolist(), strict=True)
    return SampleUser(
        user=str(model.users.raw[row]),
        num_ratings=len(training.item),
        num_held_out=len(held),
        history=tuple(described(int(training.item[n]), float(training.value[n])) for n in highest),
        listed=tuple(starmap(described, listed)),
    )


def _values_by_item(rated: RunRatings, user: UserRange, part: Part) -> dict[int, float]:
    found = rated.load(user, part)
    return dict(zip(found.item.tolist(), found.value.tolist(), strict=True))


def _shares(counts: NDArray[np.number]) -> NDArray[np.float64]:
    total = counts.sum()
    return np.asarray(counts / (total if total else 1))
