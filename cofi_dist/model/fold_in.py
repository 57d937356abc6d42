"""Compute a new user's weights and bias from a few ratings or events, without the training data.

They minimise the part of J that belongs to one user, with X and c fixed:

    1/2 sum over the known items of c_i (s_i - y_i)^2  +  a0/2 sum over the others of s_i^2
        + lambda (N + a0 M)^p / 2 |w|^2 + lambda_b / 2 b^2            s_i = w . x_i + b + c_i

Ratings have y = rating - item_mean and weight 1. Events of strength r have y = 1 and weight 1 + alpha r.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import TrainSection
from cofi_dist.data.readers.column_kinds import number_fault
from cofi_dist.errors import DataError
from cofi_dist.model.arguments import Ids, as_ids
from cofi_dist.model.arrays import ModelArrays
from cofi_dist.model.scoring import RowIndices, Scorer
from cofi_dist.words import counted, none_known

# N ratings or events of items that the model knows, M items, K features. v is (w, b), with K + 1 entries, or
# w alone if the users of the model have no bias.

ROWS_AT_ONCE = 2**16  # of X that are widened to float64 at a time


@dataclass(frozen=True)
class FoldedUser:
    """Hold the weights and the bias of a user who was not trained on.

    Attributes:
        w: weights, (K,) float64.
        b: bias; 0 if the users of the model have none.
        rated: rows of the items that the user has rated, or has events of, (N,).
        values: the ratings, or the strengths of the events, (N,) float64.
        unknown: number of ratings or events that were dropped because the model does not know their items.
    """

    w: NDArray[np.float64]
    b: float
    rated: RowIndices
    values: NDArray[np.float64]
    unknown: int

    def __repr__(self) -> str:
        features, items = counted(len(self.w), "feature"), counted(len(self.rated), "known item")
        return f"FoldedUser({features}, b {self.b:.4g}; {items}, {self.unknown:,} unknown)"


@dataclass(frozen=True, kw_only=True)
class UserObjective:
    """Hold what the objective of a new user is made of: the factors and the keys that they were trained with.

    Attributes:
        arrays: of the model; those of its users are not read.
        train: the weights of the objective.
        has_bias: whether users have a bias; else b is 0.
    """

    arrays: ModelArrays
    train: TrainSection
    has_bias: bool

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """Return sum z_i z_i^T over all items, where z_i = (x_i, 1, c_i), (K + 2, K + 2); built once."""
        num_items, num_features = self.arrays.X.shape
        gram = np.zeros((num_features + 2, num_features + 2))
        for start in range(0, num_items, ROWS_AT_ONCE):
            x, c = self.rows(np.arange(start, min(start + ROWS_AT_ONCE, num_items)))
            z = np.column_stack([x, np.ones(len(x)), c])
            gram += z.T @ z
        return gram

    def rows(self, items: RowIndices) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return x_i, (N, K), and c_i, (N,), of some items as they were trained."""
        X, c = self.arrays.X, self.arrays.c
        c_N = np.zeros(len(items)) if c is None else c[0, items].astype(np.float64)
        return X[items].astype(np.float64), c_N

    def weights(self, strengths: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return the weights of events of these strengths, (N,); None for ratings, whose weights are 1."""
        return None if self.train.alpha is None else 1 + self.train.alpha * strengths

    def penalty(self, num_known: int) -> NDArray[np.float64]:
        """Return the weight of each entry of v in the regulariser, for a user with N ratings."""
        train, (num_items, num_features) = self.train, self.arrays.X.shape
        count = float(num_known) + train.unknown_weight * num_items
        penalty = np.full(num_features + 1, train.lambda_ * count**train.lambda_power)
        penalty[-1] = train.lambda_b
        return penalty if self.has_bias else penalty[:-1]


def fold_in(
    scorer: Scorer, objective: UserObjective, items: Ids, values: NDArray[np.float64] | None
) -> FoldedUser:
    """Return the w and b that minimise the objective above, in float64.

    With lambda 0 there may be many solutions, of which the shortest is returned.

    Args:
        scorer: of the model.
        objective: of the model.
        items: raw ids. Ratings have each once; the strengths of an item's events are added up.
        values: one per item: the rating, on the scale of the training ratings; or the strength of the event.
            None is for events alone, and means strength 1.

    Raises:
        DataError: no item is known; an item is rated twice; a rating is not finite or not on the scale; or a
            strength is not within the bounds of training.
    """
    ids = as_ids(items)
    values = _checked(scorer, ids.to_list(), values)
    rows = scorer.items.find(ids)
    is_known = rows >= 0
    if not is_known.any():
        raise DataError(none_known(len(rows), "item"))
    rated, values = rows[is_known], values[is_known]
    unknown = len(rows) - len(rated)
    if scorer.is_implicit:
        rated, place = np.unique(rated, return_inverse=True)
        values = np.bincount(place, values).astype(np.float64)
    solve = _solve_with_unknown if objective.train.unknown_weight else _solve_known
    v = solve(scorer, objective, rated, values)
    num_features = scorer.X.shape[1]
    w, b = v[:num_features].copy(), float(v[-1]) if objective.has_bias else 0.0
    return FoldedUser(w, b, rated, values, unknown)


def _solve_known(
    scorer: Scorer, objective: UserObjective, rated: RowIndices, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the v of a model that ignores unknown pairs."""
    stacked, target = stacked_system(scorer, objective, rated, values, objective.weights(values))
    return np.asarray(np.linalg.lstsq(stacked, target, rcond=None)[0], np.float64)


def stacked_system(
    scorer: Scorer,
    objective: UserObjective,
    rated: RowIndices,
    values: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least squares whose solution is the v of a model that ignores unknown pairs.

    They are minimise |design v - target|^2 + |sqrt(penalty) v|^2, stacked: first a row for each rating, then
    those of the penalty, of target 0. The normal equations would square the condition number.

    An item without training ratings is the average one here, as it holds the remains of its random start.
    """
    penalty = objective.penalty(len(rated))
    offset_N = scorer.offset[rated]
    target_N = (1.0 if scorer.is_implicit else values) - offset_N
    design = scorer.X[rated]
    if objective.has_bias:
        design = np.column_stack([design, np.ones(len(rated))])
    if weights is not None:
        design, target_N = design * np.sqrt(weights)[:, None], target_N * np.sqrt(weights)
    stacked: NDArray[np.float64] = np.vstack([design, np.diag(np.sqrt(penalty))])
    return stacked, np.concatenate([target_N, np.zeros(len(penalty))])


def _solve_with_unknown(
    scorer: Scorer, objective: UserObjective, rated: RowIndices, values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the v of a model that draws the scores of unknown pairs to 0."""
    system = NormalSystem.build(scorer, objective, rated, values, objective.weights(values))
    a0, size = objective.train.unknown_weight, len(system.normal)
    target = system.z.T @ (system.pull_N + a0 * system.c_N) - a0 * objective.gram[:size, -1]
    return solve_symmetric(system.normal, target)


@dataclass(frozen=True)
class NormalSystem:
    """Hold the normal equations of the v of a model that draws the scores of unknown pairs to 0.

    The unknown items are all items except the known ones. So the equations need the Gram matrix of all items,
    which is the same for every user, and a row for each known item.

    Attributes:
        normal: their matrix, (Z, Z) for the Z entries of v.
        z: of each known item, (N, Z).
        pull_N: weight times target, less c, of each known item.
        c_N: c of each known item.
    """

    normal: NDArray[np.float64]
    z: NDArray[np.float64]
    pull_N: NDArray[np.float64]
    c_N: NDArray[np.float64]

    @classmethod
    def build(
        cls,
        scorer: Scorer,
        objective: UserObjective,
        rated: RowIndices,
        values: NDArray[np.float64],
        weights: NDArray[np.float64] | None,
    ) -> Self:
        """Put together the equations of a user."""
        penalty, a0 = objective.penalty(len(rated)), objective.train.unknown_weight
        size = len(penalty)
        x, c_N = objective.rows(rated)
        z = np.column_stack([x, np.ones(len(x))])[:, :size]
        y_N = 1.0 if scorer.is_implicit else values - objective.arrays.item_means[rated]
        weight_N = np.ones(len(rated)) if weights is None else weights
        normal = a0 * objective.gram[:size, :size] + z.T @ ((weight_N - a0)[:, None] * z) + np.diag(penalty)
        return cls(normal, z, weight_N * (y_N - c_N), c_N)


def solve_symmetric(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve a positive semi-definite system; if it is singular, return the shortest solution."""
    values, vectors = np.linalg.eigh(matrix)
    is_used = values > len(values) * np.finfo(np.float64).eps * values[-1]
    solution: NDArray[np.float64] = (vectors[:, is_used] / values[is_used]) @ (vectors[:, is_used].T @ target)
    return solution


def _checked(
    scorer: Scorer, ids: list[int] | list[str], values: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return a value for each item.

    Raises:
        DataError: there are fewer or more values than items, or one is not what the model learnt from.
    """
    if values is None:
        if not scorer.is_implicit:
            raise DataError("give a rating for each item; only models of events do without")
        values = np.ones(len(ids))
    if len(ids) != len(values):
        noun = "strength" if scorer.is_implicit else "rating"
        raise DataError(f"{counted(len(ids), 'item')}, but {counted(len(values), noun)}")
    check = _check_strengths if scorer.is_implicit else _check_ratings
    check(scorer, ids, values)
    return values


def _check_strengths(_: Scorer, ids: list[int] | list[str], strengths: NDArray[np.float64]) -> None:
    """Raise DataError unless each strength is one that training would take."""
    for item, strength in zip(ids, strengths.tolist(), strict=True):
        fault = number_fault("strength", strength, f"{strength:g}")
        if fault:
            raise DataError(f"item {item}: {fault}")


def _check_ratings(scorer: Scorer, ids: list[int] | list[str], ratings: NDArray[np.float64]) -> None:
    """Raise DataError unless each item has one rating, finite and on the scale of the training ratings."""
    seen = set()
    for item, rating in zip(ids, ratings.tolist(), strict=True):
        if item in seen:
            raise DataError(f"item {item} is rated twice; leave one rating")
        seen.add(item)
        if not np.isfinite(rating):
            raise DataError(f"the rating of item {item}, {rating}, is not a finite number")
        if not scorer.lowest <= rating <= scorer.highest:
            raise DataError(
                f"the rating of item {item}, {rating:g}, is outside the training ratings'"
                f" scale, {scorer.lowest:g} to {scorer.highest:g}"
            )
