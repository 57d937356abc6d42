"""Score all items for some users, in float64, with a stand-in for what has no training ratings.

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
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.factors import Factors

# U users of a batch, M items, K features.


@dataclass(frozen=True)
class ItemScores:
    """Hold what the items add to a score.

    Attributes:
        X: item features, (M, K) float64; 0 for an item without training ratings.
        offset: o_i, (M,) float64.
        unknown_offset: offset of an unknown item.
    """

    X: Tensor
    offset: Tensor
    unknown_offset: float

    @classmethod
    def build(cls, factors: Factors, item_means: Tensor, item_counts: Tensor, global_mean: float) -> Self:
        """Widen the item features to float64, on the CPU, and compute what stands in for unknown items.

        Args:
            factors: X and c are used, on any device.
            item_means: what was subtracted from each item's ratings, (M,) float64.
            item_counts: training ratings of each item, (M,) float64.
            global_mean: mean of all training ratings.
        """
        is_known, X = item_counts > 0, factors.X.cpu().double()
        offset = item_means.clone()
        unknown_offset = global_mean if has_means(item_means) else 0.0
        if factors.c is not None:
            c = factors.c[0].cpu()
            offset += c
            unknown_offset += mean_of_known(c, is_known)
        return cls(
            X=torch.where(is_known[:, None], X, 0.0),
            offset=torch.where(is_known, offset, unknown_offset),
            unknown_offset=unknown_offset,
        )

    def score(self, w: Tensor, b: Tensor) -> NDArray[np.float64]:
        """Return the scores of all items, not clipped: (U, K), (U,) -> (U, M)."""
        scores = w.double() @ self.X.T
        scores += b.double()[:, None]
        scores += self.offset
        array: NDArray[np.float64] = scores.numpy()
        return array


def known_users(W: Tensor, b: Tensor, is_known: Tensor, unknown_bias: float) -> tuple[Tensor, Tensor]:
    """Return w, (U, K), and b, (U,), in float64; unknown users get those of the average user."""
    w = torch.where(is_known[:, None], W.double(), 0.0)
    return w, torch.where(is_known, b.double(), unknown_bias)


def mean_of_known(values: Tensor, is_known: Tensor) -> float:
    """Return the mean of the known values, in float64; 0 if none is known."""
    return float(values[is_known].double().mean()) if bool(is_known.any()) else 0.0


def has_means(item_means: Tensor) -> bool:
    """Tell whether item means were subtracted from the ratings."""
    return bool(item_means.any())
