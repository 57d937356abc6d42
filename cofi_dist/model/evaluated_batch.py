"""Compute the figures of each user of a batch: errors, ranking metrics, and what is counted beside them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ratings import Ratings
from cofi_dist.model.predict import predict_pairs
from cofi_dist.model.scoring import RowIndices, Scorer, has_training_ratings
from cofi_dist.ranking.metrics import METRICS, rank_users
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.sharding.ranges import UserRange

# U users of a batch, V of them with relevant items, M items, N held-out ratings of a batch.

# What is summed over all batches: counts, and numbers of each user. A user without held-out ratings, or
# without relevant items, has zeros.
COUNTS = ("unseen_users", "unseen_ratings", "users_without_relevant", "ratings_seen_in_training")
ERRORS = ("ratings", "squared_error", "absolute_error", "users", "rmse_by_user", "mae_by_user")
RANKED = ("ranked_users", *METRICS, "popularity")
PER_USER = (*ERRORS, *RANKED)


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

    @property
    def held_out_pairs(self) -> UserItemPairs:
        return UserItemPairs(self.held_out.user.astype(np.int64), self.held_out.item.astype(np.int64))

    def numbers(
        self, num_items: int, k: int, relevant: float | None, num_lists_M: NDArray[np.float64]
    ) -> tuple[list[float], NDArray[np.float64]]:
        """Return COUNTS and, of each user, PER_USER, (U, len(PER_USER)).

        Each item's number of lists is added to `num_lists_M`. The numbers of the ranking are 0 without
        training ratings.
        """
        unseen, errors = self.errors()
        without, in_training, ranked_users = 0, 0, np.zeros((len(self.users), len(RANKED)))
        if self.training is not None:
            without, in_training = self.ranking(
                self.training, num_items, k, relevant, ranked_users, num_lists_M
            )
        return [*unseen, without, in_training], np.hstack([errors, ranked_users])

    def errors(self) -> tuple[tuple[int, int], NDArray[np.float64]]:
        """Return the numbers of unseen users and ratings, and ERRORS of each user, (U, len(ERRORS))."""
        pairs, num_users = self.held_out_pairs, len(self.users)
        user, item = pairs.user, pairs.item
        count_U = np.bincount(user, minlength=num_users)
        has_ratings_U = count_U > 0
        rows = np.arange(self.users.start, self.users.stop)
        is_seen_U = has_training_ratings(self.scorer.user_counts, rows)
        is_seen_N = is_seen_U[user] & has_training_ratings(self.scorer.item_counts, item)
        squared_U, absolute_U = np.zeros((2, num_users))
        if not self.scorer.is_implicit:
            err_N = predict_pairs(self.scorer, user + self.users.start, item) - self.held_out.value
            squared_U += np.bincount(user, err_N**2, minlength=num_users)
            absolute_U += np.bincount(user, np.abs(err_N), minlength=num_users)
        divisor_U = np.maximum(count_U, 1)
        by_user = np.sqrt(squared_U / divisor_U), absolute_U / divisor_U
        unseen = int((has_ratings_U & ~is_seen_U).sum()), int((~is_seen_N).sum())
        return unseen, np.column_stack([count_U, squared_U, absolute_U, has_ratings_U, *by_user])

    def ranking(
        self,
        trained_on: Ratings,
        num_items: int,
        k: int,
        relevant: float | None,
        ranked_users: NDArray[np.float64],
        num_lists_M: NDArray[np.float64],
    ) -> tuple[int, int]:
        """Set RANKED of each user with relevant items, and add each item's lists to `num_lists_M`.

        Returns:
            The number of users without relevant items, and of held-out ratings that were trained on.
        """
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
        lists, num_ranked = ranked.lists, len(ranked.users)
        count = self.scorer.item_counts[lists.item]
        length = np.bincount(lists.user, minlength=num_ranked)
        popularity = np.bincount(lists.user, count, minlength=num_ranked) / np.maximum(length, 1)
        ranked_users[ranked.users] = np.column_stack([np.ones(num_ranked), ranked.metrics, popularity])
        num_lists_M += np.bincount(lists.item, minlength=len(num_lists_M))
        return len(np.unique(pairs.user)) - num_ranked, int(is_in_training_N.sum())

    def score(self, users: RowIndices) -> NDArray[np.float64]:
        """Return the scores of all items for some users of the batch, (V, M)."""
        return self.scorer.score_items(*self.scorer.user_factors(users + self.users.start))
