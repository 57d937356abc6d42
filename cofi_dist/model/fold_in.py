"""A new user's weights and bias from a few ratings, without the training data."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.errors import DataError
from cofi_dist.model.scoring import Ids, Rows, as_ids
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model.model import Model

# N ratings of items that the model knows, n features.


@dataclass(frozen=True)
class FoldedUser:
    """A user who was not trained on.

    Attributes:
        w: weights, (n,) float64.
        b: bias.
        rated: rows of the items that the ratings were of, (N,).
        unknown: ratings dropped, as the model does not know their items.
    """

    w: Tensor
    b: float
    rated: Rows
    unknown: int

    def __repr__(self) -> str:
        features, items = counted(len(self.w), "feature"), counted(len(self.rated), "rated item")
        return f"FoldedUser({features}, b {self.b:.4g}; {items}, {self.unknown:,} unknown)"


def fold_in(model: "Model", items: Ids, ratings: NDArray[np.float64]) -> FoldedUser:
    """The w and b that minimise the training objective of these ratings, X and c held fixed.

        1/2 sum (w . x_i + b + c_i + mean_i - y_i)^2 + lambda N^p / 2 |w|^2 + lambda_b / 2 b^2

    Solved in float64 as least squares of the stacked system, which does not square its condition
    number as the normal equations would. With lambda 0 there may be many solutions; this is the
    shortest.

    Args:
        model: lambda, lambda_b and p are those it was trained with.
        items: raw ids, each once.
        ratings: as many, on the scale of the training ratings.

    Raises:
        DataError: an item stands twice, no item is known, or a rating is not finite or not on the
            scale.
    """
    ids = as_ids(items)
    _check(model, ids.to_list(), ratings)
    row = model.items.find(ids)
    known = row >= 0
    if not known.any():
        raise DataError(
            f"the model knows none of these {counted(len(row), 'item')}; are they ids of its data?"
        )
    rated = row[known]
    side, train = model.item_side, model.config.train
    penalty = np.full(side.X.shape[1] + 1, train.lambda_ * float(len(rated)) ** train.lambda_power)
    penalty[-1] = train.lambda_b
    A = np.column_stack([side.X.numpy()[rated], np.ones(len(rated))])
    target_N = ratings[known] - side.offset.numpy()[rated]
    solution = np.linalg.lstsq(
        np.vstack([A, np.diag(np.sqrt(penalty))]), np.concatenate([target_N, np.zeros(len(penalty))])
    )[0]
    return FoldedUser(
        torch.from_numpy(solution[:-1].copy()), float(solution[-1]), rated, int(len(row) - known.sum())
    )


def _check(model: "Model", ids: list[int] | list[str], ratings: NDArray[np.float64]) -> None:
    if len(ids) != len(ratings):
        raise DataError(f"{counted(len(ids), 'item')}, but {counted(len(ratings), 'rating')}")
    lowest, highest = model.facts.lowest, model.facts.highest
    seen = set()
    for item, rating in zip(ids, ratings.tolist(), strict=True):
        if item in seen:
            raise DataError(f"item {item} is rated twice; leave one rating")
        seen.add(item)
        if not np.isfinite(rating):
            raise DataError(f"the rating of item {item}, {rating}, is not a finite number")
        if not lowest <= rating <= highest:
            raise DataError(
                f"the rating of item {item}, {rating:g}, is outside the training ratings'"
                f" scale, {lowest:g} to {highest:g}"
            )
