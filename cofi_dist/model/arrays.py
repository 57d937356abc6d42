"""Hold the numbers of a trained model as arrays: using it needs no torch, which takes a second to import."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cofi_dist.factors import Factors

# M items, U users, K features.

Floats = NDArray[np.floating]

ROW_FACTS = ("item_means", "item_counts", "user_counts")  # of ModelArrays, beside the factors


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelArrays:
    """Hold the factors as training left them, and what belongs to their rows.

    Attributes:
        X: item features, (M, K) float32 or float64, as W, b and c.
        W: user weights, (U, K).
        b: user biases, (1, U).
        c: item biases, (1, M); None if the model has none.
        item_means: what was subtracted from each item's ratings, (M,) float64.
        item_counts, user_counts: training ratings of each item and of each user, float64.
    """

    X: Floats
    W: Floats
    b: Floats
    c: Floats | None = None
    item_means: NDArray[np.float64]
    item_counts: NDArray[np.float64]
    user_counts: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        factors: "Factors",
        *,
        item_means: NDArray[np.float64],
        item_counts: NDArray[np.float64],
        user_counts: NDArray[np.float64],
    ) -> Self:
        """Take the factors of all users, which are on the CPU and share their memory with the arrays."""
        return cls(
            **{name: tensor.numpy() for name, tensor in factors.by_name.items()},
            item_means=item_means,
            item_counts=item_counts,
            user_counts=user_counts,
        )

    @property
    def by_name(self) -> dict[str, Floats]:
        """Return every array by its name in the files: X, W, b, c if there is one, means and counts."""
        named = {name: getattr(self, name) for name in ("X", "W", "b", "c", *ROW_FACTS)}
        return {name: array for name, array in named.items() if array is not None}
