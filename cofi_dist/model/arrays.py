"""Hold the numbers of a trained model as arrays: using it needs no torch, which takes a second to import."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from cofi_dist.model.row_parts import Floats, RowParts, Rows

if TYPE_CHECKING:
    from cofi_dist.factors import Factors

# M items, U users, K features.

ROW_FACTS = ("item_means", "item_counts", "user_counts")  # of ModelArrays, beside the factors
ROWS_AT_ONCE = 2**20  # whose numbers are checked


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelArrays:
    """Hold the factors as training left them, and what belongs to their rows.

    Attributes:
        X: item features, (M, K) float32 or float64, as W, b and c; a `RowParts` if the model lies in parts.
        W: user weights, (U, K); as X.
        b: user biases, (1, U).
        c: item biases, (1, M); None if the model has none.
        item_means: what was subtracted from each item's ratings, (M,) float64.
        item_counts, user_counts: training ratings of each item and of each user, float64.
    """

    X: Rows
    W: Rows
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
    def is_in_parts(self) -> bool:
        """Tell whether X and W are only read where they are asked for."""
        return isinstance(self.W, RowParts)

    @property
    def rows_by_name(self) -> dict[str, Rows]:
        """Return every array by its name in the files: X, W, b, c if there is one, means and counts."""
        named = {name: getattr(self, name) for name in ("X", "W", "b", "c", *ROW_FACTS)}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def by_name(self) -> dict[str, Floats]:
        """Return the same with every number in memory; of a model in parts, X and W are copied."""
        return {name: np.asarray(array) for name, array in self.rows_by_name.items()}

    def digest(self) -> str:
        """Return a digest of all numbers; of a model in parts, one of the parts' checksums."""
        digest = xxhash.xxh3_128()
        for name, array in sorted(self.rows_by_name.items()):
            digest.update(f"{name} {array.shape} {array.dtype}".encode())
            digest.update(array.checksums.encode() if isinstance(array, RowParts) else array.data)
        return digest.hexdigest()


class NotFiniteError(ValueError):
    """Report that a number of a model is NaN or infinite."""


def require_finite(name: str, array: NDArray[np.floating]) -> None:
    """Raise NotFiniteError if one of the numbers is not finite."""
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise NotFiniteError(f"{name} holds a number that is not finite")


def value_fault(array: NDArray[np.floating], *, is_count: bool) -> str:
    """Say which numbers an array holds that no model has; nothing if there are none.

    Args:
        array: of a model, not empty.
        is_count: whether it holds numbers of ratings.
    """
    lowest, highest = array.min(), array.max()  # both are NaN if one of the numbers is
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        return "a number that is not finite"
    starts = range(0, len(array), ROWS_AT_ONCE) if is_count else ()
    blocks = (array[start : start + ROWS_AT_ONCE] for start in starts)
    if is_count and not (lowest >= 0 and all((block == np.floor(block)).all() for block in blocks)):
        return f"numbers that count nothing, such as {lowest:g}"
    return ""
