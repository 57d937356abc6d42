"""Predict the ratings of single (user, item) pairs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cofi_dist.model.scoring import RowIndices, Scorer
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.top_k import pair_scores

# N pairs, K features.

MAX_GATHERED = 2**22  # entries of W that are copied at once, 32 MB


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
        w, b = scorer.user_factors(users[chunk])
        predicted[chunk] = predict_rows(scorer, w, b, UserItemPairs(np.arange(len(w)), items[chunk]))
        if on_progress is not None:
            on_progress(len(predicted[chunk]), len(predicted))
    return predicted


def predict_items(scorer: Scorer, w: NDArray[np.float64], b: float, items: RowIndices) -> NDArray[np.float64]:
    """Predict one user's ratings of N items, clipped to the scale: (N,) float64.

    Args:
        scorer: of the model.
        w: weights of the user, (K,).
        b: bias of the user.
        items: (N,); a row outside X is unknown.
    """
    return predict_rows(scorer, w[None], np.array([b]), UserItemPairs(np.zeros(len(items), np.int64), items))


def predict_rows(
    scorer: Scorer, w: NDArray[np.float64], b: NDArray[np.float64], pairs: UserItemPairs
) -> NDArray[np.float64]:
    """Predict the ratings of N pairs of a row of w and an item, by the scores that decide lists.

    Args:
        scorer: of the model.
        w: weights of U users, (U, K).
        b: their biases, (U,).
        pairs: `item` is a row of X; one outside X is unknown.
    """
    is_known = (pairs.item >= 0) & (pairs.item < len(scorer.items))
    known = UserItemPairs(pairs.user, np.where(is_known, pairs.item, 0))
    scores = pair_scores(scorer.X, scorer.offset, w, b, known)
    return scorer.clip(np.where(is_known, scores, b[pairs.user] + scorer.unknown_offset))
