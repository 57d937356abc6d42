"""Compute a new user's weights and bias from a few ratings, without the training data."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.errors import DataError
from cofi_dist.model.arguments import Ids, as_ids
from cofi_dist.model.scoring import RowIndices, Scorer
from cofi_dist.words import counted

# N ratings of items that the model knows, K features.


@dataclass(frozen=True)
class FoldedUser:
    """Hold the weights and the bias of a user who was not trained on.

    Attributes:
        w: weights, (K,) float64.
        b: bias.
        rated: rows of the items that the user has rated, (N,).
        unknown: number of ratings that were dropped because the model does not know their items.
    """

    w: Tensor
    b: float
    rated: RowIndices
    unknown: int

    def __repr__(self) -> str:
        features, items = counted(len(self.w), "feature"), counted(len(self.rated), "rated item")
        return f"FoldedUser({features}, b {self.b:.4g}; {items}, {self.unknown:,} unknown)"


def fold_in(
    scorer: Scorer,
    items: Ids,
    ratings: NDArray[np.float64],
    *,
    lambda_: float,
    lambda_b: float,
    lambda_power: float,
) -> FoldedUser:
    """Return the w and b that minimise the training objective of these ratings, with X and c fixed.

        1/2 sum (w . x_i + b + c_i + mean_i - y_i)^2 + lambda N^p / 2 |w|^2 + lambda_b / 2 b^2

    It is solved in float64 as the least-squares problem of the stacked system. The normal equations
    would square its condition number. With lambda 0 there may be many solutions, of which the
    shortest is returned.

    Args:
        scorer: of the model.
        items: raw ids, each once.
        ratings: one per item, on the scale of the training ratings.
        lambda_: lambda that the model was trained with.
        lambda_b: lambda_b that the model was trained with.
        lambda_power: p that the model was trained with.

    Raises:
        DataError: an item appears twice, no item is known, or a rating is not finite or not on the
            scale.
    """
    ids = as_ids(items)
    _check(scorer, ids.to_list(), ratings)
    rows = scorer.items.find(ids)
    is_known = rows >= 0
    if not is_known.any():
        raise DataError(
            f"the model knows none of these {counted(len(rows), 'item')}; are they ids of its data?"
        )
    rated = rows[is_known]
    penalty = np.full(scorer.X.shape[1] + 1, lambda_ * float(len(rated)) ** lambda_power)
    penalty[-1] = lambda_b
    # With v = (w, b), minimise |design v - target|^2 + |sqrt(penalty) v|^2: the penalty is rows of target 0.
    design = np.column_stack([scorer.X.numpy()[rated], np.ones(len(rated))])
    target_N = ratings[is_known] - scorer.offset.numpy()[rated]
    solution = np.linalg.lstsq(
        np.vstack([design, np.diag(np.sqrt(penalty))]), np.concatenate([target_N, np.zeros(len(penalty))])
    )[0]
    w, b = torch.from_numpy(solution[:-1].copy()), float(solution[-1])
    return FoldedUser(w, b, rated, unknown=len(rows) - len(rated))


def _check(scorer: Scorer, ids: list[int] | list[str], ratings: NDArray[np.float64]) -> None:
    """Raise DataError unless each item has one rating, finite and on the scale of the training ratings."""
    if len(ids) != len(ratings):
        raise DataError(f"{counted(len(ids), 'item')}, but {counted(len(ratings), 'rating')}")
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
