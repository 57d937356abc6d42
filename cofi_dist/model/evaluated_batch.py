"""Compute the figures of each user of a batch: errors, ranking metrics, and what is counted beside them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings
from cofi_dist.model.predict import predict_rows
from cofi_dist.model.scoring import RowIndices, Scorer, has_training_ratings
from cofi_dist.ranking.bootstrap import replicate_sums
from cofi_dist.ranking.metrics import METRICS, RankedUsers, rank_users
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.top_k import TopK
from cofi_dist.sharding.ranges import UserRange

# U users of a batch, V of them with relevant items, M items, N held-out ratings of a batch.

# What is summed over all batches: counts, and numbers of each user. A user without held-out ratings, or
# without relevant items, has zeros.
COUNTS = ("unseen_users", "unseen_ratings", "users_without_relevant", "ratings_seen_in_training")
ERRORS = ("ratings", "squared_error", "absolute_error", "users", "rmse_by_user", "mae_by_user")
RANKED = ("ranked_users", *METRICS, "popularity")
PER_USER = (*ERRORS, *RANKED)


@dataclass(frozen=True)
class Lists:
    """Say which lists are judged, and by what.

    Attributes:
        ranker: of all items.
        k: length of a list.
        relevant: the rating from which an item is relevant; None: every held-out item is.
    """

    ranker: Ranker
    k: int
    relevant: float | None


@dataclass(frozen=True)
class BatchFigures:
    """Hold sums over a batch's users.

    Attributes:
        sums: COUNTS, and the sums of PER_USER.
        replicates: the sums of PER_USER in each replicate of the users, (REPLICATES, len(PER_USER)).
        held_out: the items of all held-out ratings, with repeats.
        listed: the items of all lists, with repeats.
    """

    sums: list[float]
    replicates: NDArray[np.float64]
    held_out: NDArray[np.int32]
    listed: RowIndices


@dataclass(frozen=True)
class Batch:
    """Hold the held-out and the training ratings of a range of users.

    Attributes:
        scorer: of the model.
        users: the range; the `user` of the ratings counts from its start.
        held_out: ratings to judge by.
        training: ratings that lists leave out; None for no ranking.
    """

    scorer: Scorer
    users: UserRange
    held_out: Ratings
    training: Ratings | None

    @cached_property
    def _factors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.scorer.user_factors(np.arange(self.users.start, self.users.stop))

    def figures(self, num_items: int, lists: Lists | None) -> BatchFigures:
        """Return the sums; those of the ranking are 0 without training ratings.

        Args:
            num_items: of the held-out ratings, whose items the model may not know.
            lists: to judge; None for no ranking.
        """
        unseen, errors = self._errors()
        users = np.flatnonzero(errors[:, ERRORS.index("users")])
        without, in_training, listed = 0, 0, np.empty(0, np.int64)
        ranked = np.zeros((len(self.users), len(RANKED)))
        if lists is not None and self.training is not None:
            judged, is_in_training_N = self._judged(self.training, num_items, lists)
            without, in_training = len(users) - len(judged.users), int(is_in_training_N.sum())
            listed, ranked = judged.lists.item, self._ranked(judged)
        of_users = np.hstack([errors, ranked])
        return BatchFigures(
            sums=[*unseen, without, in_training, *(column.sum() for column in of_users.T)],
            replicates=replicate_sums(users + self.users.start, of_users[users]),
            held_out=self.held_out.item,
            listed=listed,
        )

    def _errors(self) -> tuple[tuple[int, int], NDArray[np.float64]]:
        """Return the numbers of unseen users and ratings, and ERRORS of each user, (U, len(ERRORS))."""
        pairs, num_users = _pairs(self.held_out), len(self.users)
        user, item = pairs.user, pairs.item
        count_U = np.bincount(user, minlength=num_users)
        has_ratings_U = count_U > 0
        rows = np.arange(self.users.start, self.users.stop)
        is_seen_U = has_training_ratings(self.scorer.user_counts, rows)
        is_seen_N = is_seen_U[user] & has_training_ratings(self.scorer.item_counts, item)
        squared_U, absolute_U = np.zeros((2, num_users))
        if not self.scorer.is_implicit:
            err_N = predict_rows(self.scorer, *self._factors, pairs) - self.held_out.value
            squared_U += np.bincount(user, err_N**2, minlength=num_users)
            absolute_U += np.bincount(user, np.abs(err_N), minlength=num_users)
        divisor_U = np.maximum(count_U, 1)
        by_user = np.sqrt(squared_U / divisor_U), absolute_U / divisor_U
        unseen = int((has_ratings_U & ~is_seen_U).sum()), int((~is_seen_N).sum())
        return unseen, np.column_stack([count_U, squared_U, absolute_U, has_ratings_U, *by_user])

    def _judged(
        self, trained_on: Ratings, num_items: int, lists: Lists
    ) -> tuple[RankedUsers, NDArray[np.bool_]]:
        """Judge the lists of users with relevant items, and tell which held-out ratings were trained on."""
        pairs, training = _pairs(self.held_out), _pairs(trained_on)
        is_in_training_N = pairs.isin(training, num_items)
        is_known_N = (pairs.user + self.users.start < len(self.scorer.users)) & (
            pairs.item < len(self.scorer.items)
        )
        is_relevant_N = ~is_in_training_N & is_known_N
        if lists.relevant is not None:
            is_relevant_N &= self.held_out.value >= lists.relevant
        w, b = self._factors

        def best(users: RowIndices, left_out: UserItemPairs) -> TopK:
            return lists.ranker.best(w[users], b[users], lists.k, left_out)

        relevant = pairs.masked(is_relevant_N)
        return rank_users(best, relevant, training, self._shape, lists.k), is_in_training_N

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.users), len(self.scorer.items)

    def _ranked(self, judged: RankedUsers) -> NDArray[np.float64]:
        """Return RANKED of each user, (U, len(RANKED))."""
        lists, num_ranked = judged.lists, len(judged.users)
        count = self.scorer.item_counts[lists.item]
        length = np.bincount(lists.user, minlength=num_ranked)
        popularity = np.bincount(lists.user, count, minlength=num_ranked) / np.maximum(length, 1)
        ranked = np.zeros((len(self.users), len(RANKED)))
        ranked[judged.users] = np.column_stack([np.ones(num_ranked), judged.metrics, popularity])
        return ranked


def _pairs(ratings: Ratings) -> UserItemPairs:
    return UserItemPairs(ratings.user.astype(np.int64), ratings.item.astype(np.int64))
