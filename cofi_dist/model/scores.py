"""Scores of all items for a block of users, in float64, and the best of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.data.shards import UserRange
from cofi_dist.errors import DataError

if TYPE_CHECKING:
    from cofi_dist.model.model import Model

# U users of the block, M items, n features.

Rows = NDArray[np.int64]
Ids = pl.Series | Sequence[int] | Sequence[str] | NDArray[np.integer]

# Cells of a block's scores, 32 MB, and its most users. Neither knows of ranks or threads: the same
# blocks, and so the same figures, on any number of them.
BLOCK_CELLS, BLOCK_USERS = 2**22, 256

# Scores that agree to so many decimals are a tie, which the lower item row wins: how a matrix
# product rounds depends on the block's shape, and must not decide a place.
DECIMALS = 10


@dataclass(frozen=True)
class ItemSide:
    """What all users' scores share.

    Attributes:
        X: item features, (M, n) float64.
        offset: item mean and item bias, (M,) float64.
    """

    X: Tensor
    offset: Tensor

    @classmethod
    def of(cls, model: "Model") -> "ItemSide":
        """The model's items, widened once."""
        c = model.factors.c
        return cls(model.factors.X.double(), model.item_means if c is None else model.item_means + c[0])

    def scores(self, W: Tensor, b: Tensor) -> NDArray[np.float64]:
        """`x_i . w_j + b_j + c_i + item_mean_i`, not clipped: (U, n), (U,) -> (U, M)."""
        scores = W.double() @ self.X.T
        scores += b.double()[:, None]
        scores += self.offset
        array: NDArray[np.float64] = scores.numpy()
        return array


@dataclass(frozen=True)
class Top:
    """The best items of a block's users, user by user and best first; flat, as lists differ in length.

    Attributes:
        user: row in the block.
        item: row of X.
        place: from 0.
        score: not clipped.
    """

    user: Rows
    item: Rows
    place: Rows
    score: NDArray[np.float64]


def top(scores: NDArray[np.float64], k: int) -> Top:
    """The k best items of each row, by score to DECIMALS, then by item row.

    Args:
        scores: (U, M); -inf leaves an item out, so a row may have fewer than k.
        k: at least 1.
    """
    num_users, num_items = scores.shape
    rounded = np.round(scores, DECIMALS)
    kth = torch.from_numpy(rounded).topk(min(k, num_items), dim=1).values[:, -1:].numpy()
    user, item = np.nonzero((rounded >= kth) & (rounded > -np.inf))
    # a stable sort of what nonzero gives by ascending item leaves ties so
    order = np.lexsort((-rounded[user, item], user))
    user, item = user[order], item[order]
    counts = np.bincount(user, minlength=num_users)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    best = place < k
    user, item, place = user[best], item[best], place[best]
    return Top(user, item, place, scores[user, item])


def blocks(num_users: int, num_items: int, users_at_once: int | None = None) -> list[UserRange]:
    """All users in ranges of equal length, whose scores fit in BLOCK_CELLS."""
    step = users_at_once or max(1, min(BLOCK_USERS, BLOCK_CELLS // max(num_items, 1)))
    return [UserRange(at, min(at + step, num_users)) for at in range(0, num_users, step)]


def as_ids(ids: Ids) -> pl.Series:
    """Raw ids as a series.

    Raises:
        DataError: they are neither integers nor text.
    """
    series = ids if isinstance(ids, pl.Series) else pl.Series(ids)
    if not (series.dtype.is_integer() or series.dtype in (pl.String, pl.Null)):
        raise DataError(f"ids are integers or text, not {series.dtype}")
    return series
