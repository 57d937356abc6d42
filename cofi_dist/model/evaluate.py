"""Measure how well a model predicts held-out ratings and ranks held-out items, in batches of users.

The batches are the same on any number of ranks, and each rank takes a run of them. Their sums are added
in order, so the figures are the same to the last bit.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import DataError
from cofi_dist.model.arguments import require_whole_number
from cofi_dist.model.held_out import HeldOut
from cofi_dist.model.predict import predict_pairs
from cofi_dist.model.run_ratings import RunRatings
from cofi_dist.model.scoring import RowIndices, Scorer, has_training_ratings, user_batches
from cofi_dist.ranking.metrics import METRICS, rank_users
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.words import counted

# U users of a batch, M items, N held-out ratings of a batch.

# What is summed over all batches: counts, errors, and each ranked user's metrics.
COUNTS = (
    *("ratings", "users", "unseen_users", "unseen_ratings"),
    *("ranked_users", "users_without_relevant", "ratings_seen_in_training"),
)
ERRORS = ("squared_error", "absolute_error", "rmse_by_user", "mae_by_user")
SUMS = (*COUNTS, *ERRORS, *METRICS)

# Attributes that have another name in the files of `evaluate --output`, which other programs read.
KEYS_IN_FILES = {"ratings_seen_in_training": "trained_ratings", "users_without_relevant": "users_without"}


@dataclass(frozen=True)
class Ranking:
    """Hold ranking metrics, averaged over the users with relevant items.

    `cofi_dist.ranking.metrics` defines each of them.

    Attributes:
        k: length of a list.
        relevant: the rating from which a held-out item is relevant; None if all of them are.
        users: number of users with relevant items.
        users_without_relevant: number of users with held-out ratings, but no relevant item; they are in
            no average.
        precision, recall, ndcg, map, hit_rate, mrr: None if no user has relevant items.
    """

    k: int
    relevant: float | None
    users: int
    users_without_relevant: int
    precision: float | None
    recall: float | None
    ndcg: float | None
    map: float | None
    hit_rate: float | None
    mrr: float | None


@dataclass(frozen=True)
class Evaluation:
    """Hold the figures of `evaluate`.

    Attributes:
        ratings: number of held-out ratings.
        users: number of users who have any.
        rmse, mae: over all ratings, on their scale.
        rmse_by_user, mae_by_user: computed for each user, then averaged over users.
        unseen_users, unseen_items: numbers of users and items without training ratings.
        unseen_ratings: number of ratings by such a user or of such an item.
        ratings_seen_in_training: number of held-out ratings whose pair is in the training ratings too.
        ranking: None if the training ratings, which lists leave out, are not available.
    """

    ratings: int
    users: int
    rmse: float
    mae: float
    rmse_by_user: float
    mae_by_user: float
    unseen_users: int
    unseen_items: int
    unseen_ratings: int
    ratings_seen_in_training: int
    ranking: Ranking | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --output` writes them."""
        return asdict(
            self, dict_factory=lambda pairs: {KEYS_IN_FILES.get(name, name): v for name, v in pairs}
        )

    def __repr__(self) -> str:
        ranked = "no ranking"
        if self.ranking is not None:
            averages = {name: getattr(self.ranking, name) for name in METRICS}
            shown = (f"{name} {'-' if a is None else f'{a:.4f}'}" for name, a in averages.items())
            ranked = f"k {self.ranking.k}: {', '.join(shown)}"
        return (
            f"Evaluation({counted(self.ratings, 'rating')} by {counted(self.users, 'user')};"
            f" rmse {self.rmse:.4f}, mae {self.mae:.4f}; {ranked})"
        )


def evaluate(
    scorer: Scorer,
    held_out: HeldOut,
    rated: RunRatings | None,
    *,
    k: int = 10,
    relevant: float | None = None,
    comm: Comm | None = None,
    users_at_once: int | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Compute RMSE, MAE and ranking metrics. Collective: all ranks call it and get the result.

    A rating of a user or an item that the model does not know counts for RMSE and MAE, with the
    fallback of `cofi_dist.ranking.scores`, and is not ranked.

    Args:
        scorer: of the model.
        held_out: the same on all ranks.
        rated: its training ratings are left out of the lists; None: no ranking.
        k: length of a list.
        relevant: the rating from which an item is relevant; None: every held-out item is.
        comm: the ranks, each of which takes some of the batches.
        users_at_once: users per batch; by default as many as memory allows.
        on_progress: called after each batch with the number of users done by all ranks, and of all users.

    Raises:
        DataError: k is not positive, or nothing is held out.
    """
    _check_arguments(k, relevant)
    comm = comm or SoloComm()
    num_items = held_out.num_items
    batches = user_batches(held_out.num_users, num_items, users_at_once)
    start, stop = (len(batches) * rank // comm.world_size for rank in (comm.rank, comm.rank + 1))
    # One row per batch, which is zero on all ranks but one, so adding the ranks' rows rounds nothing.
    sums, num_held_out_M = np.zeros((len(batches), len(SUMS))), np.zeros(num_items)
    for number in range(start, stop):
        users = batches[number]
        batch = _Batch(scorer, users, held_out.load(users), _load_training(scorer, rated, users))
        found = batch.sums(num_items, k, relevant)
        sums[number] = [found[name] for name in SUMS]
        num_held_out_M += np.bincount(batch.held_out.item, minlength=num_items)
        if on_progress is not None:
            on_progress(len(users) * comm.world_size, held_out.num_users)
    comm.all_reduce_(torch.from_numpy(sums), torch.from_numpy(num_held_out_M))
    total = dict(zip(SUMS, sums.sum(axis=0).tolist(), strict=True))
    if not total["ratings"]:
        raise DataError("there are no ratings to evaluate on")
    unseen_items = _count_unseen(num_held_out_M, scorer)
    return _averages(total, unseen_items, None if rated is None else _ranking_averages(total, k, relevant))


def _check_arguments(k: int, relevant: float | None) -> None:
    require_whole_number("k", k)
    if relevant is not None and not math.isfinite(relevant):
        raise DataError(f"relevant is {relevant}; give a rating")


def _load_training(scorer: Scorer, rated: RunRatings | None, users: UserRange) -> Ratings | None:
    """Return the training ratings of those of the users that the model knows; None if there are no data."""
    if rated is None:
        return None
    num_users = len(scorer.users)
    return rated.load(UserRange(min(users.start, num_users), min(users.stop, num_users)))


@dataclass(frozen=True)
class _Batch:
    """Hold the held-out and the training ratings of a range of users; their `user` counts from its start."""

    scorer: Scorer
    users: UserRange
    held_out: Ratings
    training: Ratings | None

    @property
    def held_out_pairs(self) -> UserItemPairs:
        return UserItemPairs(self.held_out.user.astype(np.int64), self.held_out.item.astype(np.int64))

    def sums(self, num_items: int, k: int, relevant: float | None) -> dict[str, float]:
        """Return all of SUMS; those of the ranking are 0 without training ratings."""
        ranking = {} if self.training is None else self.ranking(self.training, num_items, k, relevant)
        return {**dict.fromkeys(SUMS, 0.0), **self.errors(), **ranking}

    def errors(self) -> dict[str, float]:
        """Return sums over ratings and users, by their names in SUMS."""
        pairs, num_users = self.held_out_pairs, len(self.users)
        user, item = pairs.user, pairs.item
        err_N = predict_pairs(self.scorer, user + self.users.start, item) - self.held_out.value
        count_U = np.bincount(user, minlength=num_users)
        has_ratings_U = count_U > 0
        squared_U = np.bincount(user, err_N**2, minlength=num_users)
        absolute_U = np.bincount(user, np.abs(err_N), minlength=num_users)
        rows = np.arange(self.users.start, self.users.stop)
        is_seen_U = has_training_ratings(self.scorer.user_counts, rows)
        is_seen_N = is_seen_U[user] & has_training_ratings(self.scorer.item_counts, item)
        return {
            "ratings": len(err_N),
            "users": has_ratings_U.sum(),
            "unseen_users": (has_ratings_U & ~is_seen_U).sum(),
            "unseen_ratings": (~is_seen_N).sum(),
            "squared_error": squared_U.sum(),
            "absolute_error": absolute_U.sum(),
            "rmse_by_user": np.sqrt(squared_U[has_ratings_U] / count_U[has_ratings_U]).sum(),
            "mae_by_user": (absolute_U[has_ratings_U] / count_U[has_ratings_U]).sum(),
        }

    def ranking(
        self, trained_on: Ratings, num_items: int, k: int, relevant: float | None
    ) -> dict[str, float]:
        """Return sums of METRICS over the users with relevant items, and counts, by their names in SUMS."""
        pairs = self.held_out_pairs
        training = UserItemPairs(trained_on.user.astype(np.int64), trained_on.item.astype(np.int64))
        is_in_training_N = pairs.isin(training, num_items)
        is_known_N = (pairs.user + self.users.start < len(self.scorer.users)) & (
            pairs.item < len(self.scorer.items)
        )
        is_relevant_N = ~is_in_training_N & is_known_N
        if relevant is not None:
            is_relevant_N &= self.held_out.value >= relevant
        ranked = rank_users(self.score, pairs.masked(is_relevant_N), training, len(self.users), k)
        return {
            **dict(zip(METRICS, ranked.metrics.sum(axis=0), strict=True)),
            "ranked_users": len(ranked.users),
            "users_without_relevant": len(np.unique(pairs.user)) - len(ranked.users),
            "ratings_seen_in_training": is_in_training_N.sum(),
        }

    def score(self, users: RowIndices) -> NDArray[np.float64]:
        """Return the scores of all items for some users of the batch, (V, M)."""
        return self.scorer.score_items(*self.scorer.user_factors(users + self.users.start))


def _count_unseen(num_held_out_M: NDArray[np.float64], scorer: Scorer) -> int:
    """Count the items with held-out ratings, but without training ratings."""
    is_seen_M = has_training_ratings(scorer.item_counts, np.arange(len(num_held_out_M)))
    return int(((num_held_out_M > 0) & ~is_seen_M).sum())


def _averages(total: dict[str, float], unseen_items: int, ranking: Ranking | None) -> Evaluation:
    """Turn the sums over all batches into averages."""
    count = {name: round(total[name]) for name in COUNTS}
    return Evaluation(
        ratings=count["ratings"],
        users=count["users"],
        rmse=float(np.sqrt(total["squared_error"] / total["ratings"])),
        mae=total["absolute_error"] / total["ratings"],
        rmse_by_user=total["rmse_by_user"] / total["users"],
        mae_by_user=total["mae_by_user"] / total["users"],
        unseen_users=count["unseen_users"],
        unseen_items=unseen_items,
        unseen_ratings=count["unseen_ratings"],
        ratings_seen_in_training=count["ratings_seen_in_training"],
        ranking=ranking,
    )


def _ranking_averages(total: dict[str, float], k: int, relevant: float | None) -> Ranking:
    users = round(total["ranked_users"])
    averages = {name: total[name] / users if users else None for name in METRICS}
    return Ranking(
        k=k,
        relevant=relevant,
        users=users,
        users_without_relevant=round(total["users_without_relevant"]),
        **averages,
    )
