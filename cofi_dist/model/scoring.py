"""Score all items for a batch of users, in float64.

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

from cofi_dist.data.ids import IdMap
from cofi_dist.factors import Factors
from cofi_dist.model.arguments import require_whole_number
from cofi_dist.model.facts import TrainingDataFacts
from cofi_dist.sharding.ranges import UserRange

# U users of a batch, M items, K features.

RowIndices = NDArray[np.int64]  # rows of W, or of X; a row outside the matrix is an unknown user, or item

# The most scores in a batch, 32 MB, and the most users. Neither depends on the number of ranks or threads,
# so that the batches, and with them the figures, are the same on any number of them.
MAX_BATCH_SCORES, MAX_BATCH_USERS = 2**22, 256


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Hold all that is needed to score any item for any user.

    Attributes:
        X: item features, (M, K) float64; 0 for an item without training ratings.
        offset: o_i, (M,) float64.
        W: user weights as they were trained, (num_users, K).
        b: user biases as they were trained, (num_users,).
        item_counts, user_counts: training ratings of each item and of each user, float64.
        unknown_offset: offset of an unknown item.
        unknown_bias: bias of an unknown user.
        lowest, highest: the scale to which predictions are clipped; infinite for events.
        users, items: raw id of each row of W and of X.
        is_implicit: the model learnt from events, so scores are all that there is.
    """

    X: Tensor
    offset: Tensor
    W: Tensor
    b: Tensor
    item_counts: Tensor
    user_counts: Tensor
    unknown_offset: float
    unknown_bias: float
    lowest: float
    highest: float
    users: IdMap
    items: IdMap
    is_implicit: bool = False

    @classmethod
    def build(
        cls,
        factors: Factors,
        *,
        item_means: Tensor,
        item_counts: Tensor,
        user_counts: Tensor,
        facts: TrainingDataFacts,
        users: IdMap,
        items: IdMap,
    ) -> Self:
        """Widen the item features to float64 once, and compute what stands in for the unknown."""
        is_known = item_counts > 0
        offset = item_means.clone()
        unknown_offset = facts.global_mean if has_means(item_means) else 0.0
        if factors.c is not None:
            offset += factors.c[0]
            unknown_offset += _mean(factors.c[0], is_known)
        return cls(
            X=torch.where(is_known[:, None], factors.X.double(), 0.0),
            offset=torch.where(is_known, offset, unknown_offset),
            W=factors.W,
            b=factors.b[0],
            item_counts=item_counts,
            user_counts=user_counts,
            unknown_offset=unknown_offset,
            unknown_bias=_mean(factors.b[0], user_counts > 0),
            lowest=facts.lowest,
            highest=facts.highest,
            users=users,
            items=items,
            is_implicit=facts.is_implicit,
        )

    def user_factors(self, users: RowIndices) -> tuple[Tensor, Tensor]:
        """Return w, (U, K), and b, (U,), of rows of W, in float64; unknown users get those of the average."""
        rows = torch.from_numpy(np.array(users))  # a copy: polars' arrays are read-only
        is_known = (rows >= 0) & (rows < len(self.users))
        rows = torch.where(is_known, rows, 0)
        is_known &= self.user_counts[rows] > 0
        w = torch.where(is_known[:, None], self.W[rows].double(), 0.0)
        return w, torch.where(is_known, self.b[rows].double(), self.unknown_bias)

    def score_items(self, w: Tensor, b: Tensor) -> NDArray[np.float64]:
        """Return the scores of all items, not clipped: (U, K), (U,) -> (U, M)."""
        scores = w.double() @ self.X.T
        scores += b.double()[:, None]
        scores += self.offset
        array: NDArray[np.float64] = scores.numpy()
        return array

    def clip(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Clip scores to the scale of the training ratings, which makes predictions of them."""
        return np.clip(scores, self.lowest, self.highest)


def _mean(values: Tensor, is_known: Tensor) -> float:
    """Return the mean of the known values, in float64; 0 if none is known."""
    return float(values[is_known].double().mean()) if bool(is_known.any()) else 0.0


def has_means(item_means: Tensor) -> bool:
    """Tell whether item means were subtracted from the ratings."""
    return bool(item_means.any())


def has_training_ratings(counts: Tensor, rows: RowIndices) -> NDArray[np.bool_]:
    """Tell which users, or items, have training ratings; rows outside `counts` have none."""
    is_inside = (rows >= 0) & (rows < len(counts))
    return is_inside & (counts.numpy()[np.where(is_inside, rows, 0)] > 0)


def describe_fallbacks(*, means: bool, item_biases: bool, user_biases: bool) -> tuple[str, str]:
    """Say in words what the predictions for an unknown user, and for an unknown item, consist of.

    Args:
        means: item means were subtracted from the ratings.
        item_biases: the model has item biases.
        user_biases: the model has user biases.
    """
    for_user = ["the item's mean"] * means + ["the item's bias"] * item_biases
    for_item = ["the global mean"] * means + ["the average item's bias"] * item_biases
    for_user += ["the average user's bias"] * user_biases
    for_item += ["the user's bias"] * user_biases
    return " + ".join(for_user) or "0", " + ".join(for_item) or "0"


def user_batches(num_users: int, num_items: int, users_at_once: int | None = None) -> list[UserRange]:
    """Cut all users into ranges of equal length, each with at most MAX_BATCH_SCORES scores.

    Raises:
        DataError: `users_at_once` is not a positive whole number.
    """
    if users_at_once is not None:
        require_whole_number("users_at_once", users_at_once)
    size = users_at_once or max(1, min(MAX_BATCH_USERS, MAX_BATCH_SCORES // max(num_items, 1)))
    return [UserRange(start, min(start + size, num_users)) for start in range(0, num_users, size)]
