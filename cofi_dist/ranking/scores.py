"""Provide the factors that scores are made of, with a stand-in for what has no training ratings.

The score is `x_i . w_j + b_j + o_i` with the offset `o_i = item_mean_i + c_i`. A user or an item
without training ratings is treated as the average one:

    unknown user   w = 0, b = the mean of b over the users that have training ratings
    unknown item   x = 0, o = the global mean (0 if no means were subtracted)
                              + the mean of c over the items that have training ratings

With `model.user_bias: false`, every b is 0. A model of events has no means. Without biases too, whatever
is unknown scores 0.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

# U users of a batch, M items, K features.


@dataclass(frozen=True)
class ItemScores:
    """Hold what the items add to a score.

    Attributes:
        X: item features, (M, K) float64; 0 for an item without training ratings.
        offset: o_i, (M,) float64.
        unknown_offset: offset of an unknown item.
    """

    X: NDArray[np.float64]
    offset: NDArray[np.float64]
    unknown_offset: float

    @classmethod
    def build(
        cls,
        X: ArrayLike,
        c: NDArray[np.floating] | None,
        item_means: NDArray[np.float64],
        item_counts: NDArray[np.float64],
        global_mean: float,
    ) -> Self:
        """Widen the item features to float64, and compute what stands in for unknown items.

        Args:
            X: item features as they were trained, (M, K).
            c: item biases as they were trained, (1, M); None if there are none.
            item_means: what was subtracted from each item's ratings, (M,) float64.
            item_counts: training ratings of each item, (M,) float64.
            global_mean: mean of all training ratings.
        """
        of_unknown = unknown_offset(c, item_means, item_counts, global_mean)
        return cls.of_rows(X, c, item_means, item_counts, of_unknown)

    @classmethod
    def of_rows(
        cls,
        X: ArrayLike,
        c: NDArray[np.floating] | None,
        item_means: NDArray[np.float64],
        item_counts: NDArray[np.float64],
        unknown_offset: float,
    ) -> Self:
        """Do for some items what `build` does for all; the arguments are those of these items."""
        is_known, offset = item_counts > 0, item_means.copy()
        if c is not None:
            offset += c[0]
        widened = np.array(X, np.float64)
        widened[~is_known] = 0.0
        offset[~is_known] = unknown_offset
        return cls(X=widened, offset=offset, unknown_offset=unknown_offset)


def unknown_offset(
    c: NDArray[np.floating] | None,
    item_means: NDArray[np.float64],
    item_counts: NDArray[np.float64],
    global_mean: float,
) -> float:
    """Return the offset of an unknown item; the arguments are those of `ItemScores.build`."""
    offset = global_mean if has_means(item_means) else 0.0
    return offset if c is None else offset + mean_of_known(c[0], item_counts > 0)


def known_users(
    W: NDArray[np.floating], b: NDArray[np.floating], is_known: NDArray[np.bool_], unknown_bias: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return w, (U, K), and b, (U,), in float64; unknown users get those of the average user."""
    known_W, known_b = W.astype(np.float64), b.astype(np.float64)
    known_W[~is_known] = 0.0
    known_b[~is_known] = unknown_bias
    return known_W, known_b


def mean_of_known(values: NDArray[np.floating], is_known: NDArray[np.bool_]) -> float:
    """Return the mean of the known values, in float64; 0 if none is known."""
    return float(values[is_known].mean(dtype=np.float64)) if is_known.any() else 0.0


def has_means(item_means: NDArray[np.float64]) -> bool:
    """Tell whether item means were subtracted from the ratings."""
    return bool(item_means.any())
