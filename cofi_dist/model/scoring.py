"""Score items for the users of a model.

`cofi_dist.ranking.scores` defines the score, and what stands in for users and items without training ratings.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.ids import IdMap
from cofi_dist.model.arguments import require_whole_number
from cofi_dist.model.arrays import ModelArrays
from cofi_dist.model.facts import TrainingDataFacts
from cofi_dist.model.row_parts import Floats, Rows
from cofi_dist.ranking.scores import ItemScores, known_users, mean_of_known
from cofi_dist.ranking.users import batch_size
from cofi_dist.sharding.ranges import UserRange

# U users of a batch, M items, K features.

RowIndices = NDArray[np.int64]  # rows of W, or of X; a row outside the matrix is an unknown user, or item


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

    X: NDArray[np.float64]
    offset: NDArray[np.float64]
    W: Rows
    b: Floats
    item_counts: NDArray[np.float64]
    user_counts: NDArray[np.float64]
    unknown_offset: float
    unknown_bias: float
    lowest: float
    highest: float
    users: IdMap
    items: IdMap
    is_implicit: bool = False

    @classmethod
    def build(cls, arrays: ModelArrays, facts: TrainingDataFacts, users: IdMap, items: IdMap) -> Self:
        """Widen the item features to float64 once, and compute what stands in for the unknown."""
        item_counts, user_counts = arrays.item_counts, arrays.user_counts
        scored = ItemScores.build(arrays.X, arrays.c, arrays.item_means, item_counts, facts.global_mean)
        return cls(
            X=scored.X,
            offset=scored.offset,
            W=arrays.W,
            b=arrays.b[0],
            item_counts=item_counts,
            user_counts=user_counts,
            unknown_offset=scored.unknown_offset,
            unknown_bias=mean_of_known(arrays.b[0], user_counts > 0),
            lowest=facts.lowest,
            highest=facts.highest,
            users=users,
            items=items,
            is_implicit=facts.is_implicit,
        )

    @property
    def noun(self) -> str:
        """Return what the model learnt from."""
        return "event" if self.is_implicit else "rating"

    def user_factors(self, users: RowIndices) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return w, (U, K), and b, (U,), of rows of W, in float64; unknown users get those of the average."""
        is_known = (users >= 0) & (users < len(self.users))
        rows = np.where(is_known, users, 0)
        is_known &= self.user_counts[rows] > 0
        return known_users(self.W[rows], self.b[rows], is_known, self.unknown_bias)

    def clip(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Clip scores to the scale of the training ratings, which makes predictions of them."""
        return np.clip(scores, self.lowest, self.highest)


def has_training_ratings(counts: NDArray[np.float64], rows: RowIndices) -> NDArray[np.bool_]:
    """Tell which users, or items, have training ratings; rows outside `counts` have none."""
    is_inside = (rows >= 0) & (rows < len(counts))
    return is_inside & (counts[np.where(is_inside, rows, 0)] > 0)


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


def user_batches(num_users: int, list_length: int, users_at_once: int | None = None) -> list[UserRange]:
    """Cut all users into ranges of equal length, by default with `batch_size` users each.

    Raises:
        DataError: `users_at_once` is not a positive whole number.
    """
    if users_at_once is not None:
        require_whole_number("users_at_once", users_at_once)
    size = users_at_once or batch_size(list_length)
    return [UserRange(start, min(start + size, num_users)) for start in range(0, num_users, size)]
