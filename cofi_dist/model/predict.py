"""Predict the ratings of single (user, item) pairs."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.model.scoring import RowIndices, Scorer

# N pairs, K features.

MAX_GATHERED = 2**22  # entries of X that are copied at once, 32 MB


def predict_pairs(
    scorer: Scorer,
    users: RowIndices,
    items: RowIndices,
    on_progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.float64]:
    """Predict the ratings of N pairs, clipped to the scale: (N,) float64.

    Args:
        scorer: of the model.
        users: rows of W, (N,); an unknown row gets the fallback of `cofi_dist.ranking.scores`.
        items: rows of X, (N,); the same.
        on_progress: called after each chunk of pairs with its length and N.
    """
    predicted = np.empty(len(users))
    step = max(1, MAX_GATHERED // scorer.X.shape[1])
    for start in range(0, len(users), step):
        chunk = slice(start, start + step)
        predicted[chunk] = predict_items(scorer, *scorer.user_factors(users[chunk]), items[chunk])
        if on_progress is not None:
            on_progress(len(predicted[chunk]), len(predicted))
    return predicted


def predict_items(scorer: Scorer, w: Tensor, b: Tensor | float, items: RowIndices) -> NDArray[np.float64]:
    """Predict the ratings of N items, clipped to the scale: (N,) float64.

    Args:
        scorer: of the model.
        w: weights of one user, (K,), or of each item's own user, (N, K); float64.
        b: bias of the one user, or of each item's own user, (N,) float64.
        items: (N,); a row outside X is unknown.
    """
    rows = torch.from_numpy(np.array(items))
    is_known = (rows >= 0) & (rows < len(scorer.items))
    rows = torch.where(is_known, rows, 0)
    dot = (scorer.X[rows] * w).sum(dim=1) * is_known
    offset = torch.where(is_known, scorer.offset[rows], scorer.unknown_offset)
    predicted: NDArray[np.float64] = (dot + b + offset).numpy()
    return scorer.clip(predicted)
