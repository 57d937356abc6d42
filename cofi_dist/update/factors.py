"""Solve the rows that new ratings touch: the users', then the items', then the users' once more.

A touched row has new ratings. It is solved exactly on all its ratings to train on, old and new, so its start
does not matter. All other rows stay as they are, bit for bit. In the first half, an item that had no ratings
before has x = 0 and c = 0, so that its ratings tell of nothing but the users' biases.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.config import Config
from cofi_dist.data.item_means import item_offsets
from cofi_dist.data.preparation.join import Join
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import PIECE_RATINGS
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.sharding.ranges import UserRange, balanced_ranges
from cofi_dist.update.row_solver import FixedSide, RowRatings, solve_rows
from cofi_dist.words import counted

# M items, U users, K features, V rows of a side.

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class UpdatedFactors:
    """Hold the factors, and what belongs to their rows.

    Attributes:
        factors: X (M, K), W (U, K), b (1, U), c (1, M) or None.
        item_means: what is subtracted from each item's ratings, (M,) float64.
        item_counts, user_counts: training ratings of each item and of each user, float64.
    """

    factors: Factors
    item_means: NDArray[np.float64]
    item_counts: NDArray[np.float64]
    user_counts: NDArray[np.float64]


def update_factors(
    before: UpdatedFactors, joined: StoredRatings, join: Join, config: Config
) -> UpdatedFactors:
    """Return the factors of the joined ratings, of which the touched rows were solved.

    Args:
        before: the factors of the old ratings, on the CPU.
        joined: the joined ratings.
        join: which of their rows are old, and which are touched.
        config: of the model.

    Raises:
        RunError: the least squares of a touched row have no unique solution.
    """
    item_means = _updated_means(before.item_means, joined, join)
    after = UpdatedFactors(
        factors=_with_new_rows(before.factors, joined, join),
        item_means=item_means,
        item_counts=joined.item_sums.count,
        user_counts=joined.training_ratings_per_user().astype(np.float64),
    )
    # an item that had no ratings to train on holds the remains of its random start
    had_ratings = np.zeros(joined.num_items, np.bool_)
    had_ratings[join.old_items] = before.item_counts > 0
    without = torch.from_numpy(join.new_items[~had_ratings[join.new_items]])
    after.factors.X[without] = 0
    if after.factors.c is not None:
        after.factors.c[0, without] = 0
    halves = _Halves(after, joined, config)
    halves.solve_users(join.new_users)
    halves.solve_items(join.new_items)
    halves.solve_users(join.new_users)
    return after


def _with_new_rows(old: Factors, joined: StoredRatings, join: Join) -> Factors:
    """Return the factors in the joined rows; the rows of new users and items are zeros."""

    def grown(rows: Tensor, own: Rows, num_rows: int) -> Tensor:
        new = rows.new_zeros(num_rows, *rows.shape[1:])
        new[torch.from_numpy(own)] = rows
        return new

    users, items = (join.old_users, joined.num_users), (join.old_items, joined.num_items)
    return Factors(
        X=grown(old.X, *items),
        W=grown(old.W, *users),
        b=grown(old.b[0], *users)[None],
        c=None if old.c is None else grown(old.c[0], *items)[None],
    )


def _updated_means(old: NDArray[np.float64], joined: StoredRatings, join: Join) -> NDArray[np.float64]:
    """Return what is subtracted from each item's ratings: anew for touched items, else as before."""
    centre, damping = joined.centre
    means = np.zeros(joined.num_items)
    means[join.old_items] = old
    if centre == "global_mean":  # one number for all items, of which most are not to change
        means[join.new_items] = old[0]
    else:
        means[join.new_items] = item_offsets(joined.item_sums, centre, damping)[join.new_items]
    return means


class _Halves:
    """Solve touched rows of either side, with the other side fixed.

    Args:
        model: whose factors move.
        joined: the joined ratings.
        config: of the model.
    """

    def __init__(self, model: UpdatedFactors, joined: StoredRatings, config: Config) -> None:
        self._model, self._joined, self._config = model, joined, config

    def solve_users(self, users: Rows) -> None:
        """Move the weights and biases of users to where J is lowest."""
        factors, counts = self._model.factors, self._model.user_counts
        fixed = FixedSide.of(factors.X, factors.item_bias_or_zeros(), self._config.train.unknown_weight)
        has_bias = self._config.model.user_bias
        for rows, ratings in _touched(users, counts, self._of_users):
            z = self._solve(ratings, fixed, "user", has_bias=has_bias)
            factors.W[rows] = z[:, :-1].to(factors.W.dtype)
            if has_bias:
                factors.b[0, rows] = z[:, -1].to(factors.b.dtype)

    def solve_items(self, items: Rows) -> None:
        """Move the features and biases of items to where J is lowest."""
        factors, counts = self._model.factors, self._model.item_counts
        fixed = FixedSide.of(factors.W, factors.b[0], self._config.train.unknown_weight)
        for rows, ratings in _touched(items, counts, self._of_items):
            z = self._solve(ratings, fixed, "item", has_bias=factors.c is not None)
            factors.X[rows] = z[:, :-1].to(factors.X.dtype)
            if factors.c is not None:
                factors.c[0, rows] = z[:, -1].to(factors.c.dtype)

    def _solve(self, ratings: RowRatings, fixed: FixedSide, noun: str, *, has_bias: bool) -> Tensor:
        """Return the rows with their biases, (V, K + 1) float64."""
        train, num_fixed = self._config.train, len(fixed.features)
        n = np.maximum(ratings.counts + train.unknown_weight * num_fixed, 1)
        penalty = torch.from_numpy(train.lambda_ * n**train.lambda_power)[:, None]
        penalty = penalty.repeat(1, fixed.features.shape[1] + 1)
        penalty[:, -1] = train.lambda_b
        z, is_unique = solve_rows(ratings, fixed, penalty, has_bias=has_bias)
        if not bool(is_unique.all()):
            raise RunError(
                f"the least squares of {counted(int((~is_unique).sum()), noun)} with new ratings have no"
                f" unique solution, as train.lambda_ is {train.lambda_:g}; train again with a higher one"
            )
        return z

    def _of_users(self, users: UserRange) -> RowRatings:
        """Return the training ratings of a range of users, whose rows count from its start."""
        ratings = self._joined.load(users)
        starts = np.searchsorted(ratings.user, np.arange(len(users) + 1))
        return self._row_ratings(starts, ratings.item, ratings, ratings.item)

    def _of_items(self, items: UserRange) -> RowRatings:
        """Return the training ratings of a range of items."""
        starts, ratings = self._joined.load_by_item(items)
        return self._row_ratings(starts, ratings.user, ratings, ratings.item + items.start)

    def _row_ratings(
        self, starts: Rows, other: NDArray[np.int32], ratings: Ratings, item: NDArray[np.int32]
    ) -> RowRatings:
        alpha = self._config.train.alpha
        value = ratings.value.astype(np.float64)
        if alpha is not None:
            return RowRatings(
                starts=starts, other=other, targets=np.ones(len(value)), weights=1 + alpha * value
            )
        targets = value - self._model.item_means[item]
        weights = None if ratings.weight is None else ratings.weight.astype(np.float64)
        return RowRatings(starts=starts, other=other, targets=targets, weights=weights)


def _touched(
    rows: Rows, counts: NDArray[np.float64], load: Callable[[UserRange], RowRatings]
) -> Iterator[tuple[Tensor, RowRatings]]:
    """Yield some rows of one side with their ratings, in pieces of bounded memory.

    Args:
        rows: ascending.
        counts: ratings of each row of the side.
        load: returns the ratings of a range of rows.
    """
    for each in balanced_ranges(counts.astype(np.int64), 1 + int(counts.sum()) // PIECE_RATINGS):
        inside = rows[np.searchsorted(rows, each.start) : np.searchsorted(rows, each.stop)]
        if len(inside):
            span = UserRange(int(inside[0]), int(inside[-1]) + 1)
            yield torch.from_numpy(inside), load(span).of_rows(inside - span.start)
