"""Predicted ratings of single (user, item) pairs."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.model.scoring import Rows

if TYPE_CHECKING:
    from cofi_dist.model.model import Model

# N pairs, n features.

# Entries of X gathered at once: 32 MB.
GATHER = 2**22


def predict_rows(
    model: "Model", user: Rows, item: Rows, tell: Callable[[int, int], object] | None = None
) -> NDArray[np.float64]:
    """Predicted ratings of N pairs, (N,) float64, clipped to the scale.

    A row outside the model's is unknown; see `cofi_dist.model.scoring` for what stands in for it.
    `tell` is told after each piece of the work how many pairs it had, and N.
    """
    predicted = np.empty(len(user))
    step = max(1, GATHER // model.factors.X.shape[1])
    for at in range(0, len(user), step):
        piece = slice(at, at + step)
        predicted[piece] = predict_for(model, *model.user_side(user[piece]), item[piece])
        if tell is not None:
            tell(len(predicted[piece]), len(predicted))
    return predicted


def predict_for(model: "Model", w: Tensor, b: Tensor | float, item: Rows) -> NDArray[np.float64]:
    """Predicted ratings of N items, (N,) float64, clipped to the scale.

    Args:
        model: knows the items.
        w: the user's weights, (n,), or those of each item's user, (N, n); float64.
        b: the same of the bias, (N,) float64 or a number.
        item: (N,); a row outside the model's is unknown.
    """
    row = torch.from_numpy(np.array(item))
    known = (row >= 0) & (row < len(model.items))
    row = torch.where(known, row, 0)
    side = model.item_side
    dot = (side.X[row] * w).sum(dim=1) * known
    offset = torch.where(known, side.offset[row], side.unknown)
    predicted: NDArray[np.float64] = (dot + b + offset).numpy()
    return np.clip(predicted, model.facts.lowest, model.facts.highest)
