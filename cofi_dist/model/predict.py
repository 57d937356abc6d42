"""Predicted ratings of single (user, item) pairs."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.model.scores import Rows

if TYPE_CHECKING:
    from cofi_dist.model.model import Model

# N pairs, n features.

# Entries of X gathered at once: 32 MB.
GATHER = 2**22


def predict_rows(model: "Model", user: Rows, item: Rows) -> NDArray[np.float64]:
    """Predicted ratings of N pairs, (N,) float64, clipped to the scale.

    A row outside the model's is unknown. An unknown user counts as the average one (w = 0, b = 0),
    so gets the item's mean; an unknown item as one without features (x = 0), so gets the global
    mean and the user's bias; both unknown get the global mean.
    """
    predicted = np.empty(len(user))
    step = max(1, GATHER // model.factors.X.shape[1])
    for at in range(0, len(user), step):
        piece = slice(at, at + step)
        row = torch.from_numpy(np.array(user[piece]))  # a copy: polars' arrays are read-only
        known = (row >= 0) & (row < len(model.users))
        row = torch.where(known, row, 0)
        w_Nn = model.factors.W[row].double() * known[:, None]
        b_N = torch.where(known, model.factors.b[0, row].double(), _average_bias(model))
        predicted[piece] = predict_for(model, w_Nn, b_N, item[piece])
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
    offset = torch.where(known, side.offset[row], model.facts.global_mean - _average_bias(model))
    predicted: NDArray[np.float64] = (dot + b + offset).numpy()
    return np.clip(predicted, model.facts.lowest, model.facts.highest)


def _average_bias(model: "Model") -> float:
    """Of a user of whom nothing is known; where no means were taken out, the biases hold them."""
    return 0.0 if bool(model.item_means.any()) else model.facts.global_mean
