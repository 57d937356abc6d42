"""Scores of all items for a block of users, in float64, and the best of them.

The score is `x_i . w_j + b_j + o_i` with the offset `o_i = item_mean_i + c_i`. A user or an item of
whom the model has no training ratings is taken for the average one, of which nothing more is known:

    unknown user   w = 0, b = the mean of b over the users that have training ratings
    unknown item   x = 0, o = the global mean (0 where no means were taken off)
                              + the mean of c over the items that have training ratings
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.data.readers.column_kinds import reader
from cofi_dist.errors import DataError
from cofi_dist.sharding.ranges import UserRange

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
        offset: o_i, (M,) float64.
        unknown: offset of an unknown item.
        unknown_b: bias of an unknown user.
    """

    X: Tensor
    offset: Tensor
    unknown: float
    unknown_b: float

    @classmethod
    def of(cls, model: "Model") -> "ItemSide":
        """The model's items, widened once."""
        seen, factors = model.item_counts > 0, model.factors
        offset = model.item_means.clone()
        unknown = model.facts.global_mean if model.has_means else 0.0
        if factors.c is not None:
            offset += factors.c[0]
            unknown += _mean(factors.c[0], seen)
        X = torch.where(seen[:, None], factors.X.double(), 0.0)
        unknown_b = _mean(factors.b[0], model.user_counts > 0)
        return cls(X, torch.where(seen, offset, unknown), unknown, unknown_b)

    def scores(self, W: Tensor, b: Tensor) -> NDArray[np.float64]:
        """`x_i . w_j + b_j + c_i + item_mean_i`, not clipped: (U, n), (U,) -> (U, M)."""
        scores = W.double() @ self.X.T
        scores += b.double()[:, None]
        scores += self.offset
        array: NDArray[np.float64] = scores.numpy()
        return array


def _mean(values: Tensor, seen: Tensor) -> float:
    """Of those that were seen; 0 where none was."""
    return float(values[seen].double().mean()) if bool(seen.any()) else 0.0


def user_side(model: "Model", user: Rows) -> tuple[Tensor, Tensor]:
    """See `Model.user_side`."""
    row = torch.from_numpy(np.array(user))  # a copy: polars' arrays are read-only
    seen = (row >= 0) & (row < len(model.users))
    row = torch.where(seen, row, 0)
    seen &= model.user_counts[row] > 0
    w = torch.where(seen[:, None], model.factors.W[row].double(), 0.0)
    return w, torch.where(seen, model.factors.b[0, row].double(), model.item_side.unknown_b)


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


def require_whole(name: str, count: int, least: int = 1) -> None:
    """Raise DataError unless it is a whole number, and not below the least."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < least:
        raise DataError(f"{name} is {count!r}; ask for a whole number, at least {least}")


def blocks(num_users: int, num_items: int, users_at_once: int | None = None) -> list[UserRange]:
    """All users in ranges of equal length, whose scores fit in BLOCK_CELLS.

    Raises:
        DataError: `users_at_once` is no positive whole number.
    """
    if users_at_once is not None:
        require_whole("users_at_once", users_at_once)
    step = users_at_once or max(1, min(BLOCK_USERS, BLOCK_CELLS // max(num_items, 1)))
    return [UserRange(at, min(at + step, num_users)) for at in range(0, num_users, step)]


def as_ids(ids: Ids) -> pl.Series:
    """Raw ids as a series of Int64 or String; empty, or all null, of Null.

    Raises:
        DataError: they are neither integers nor text.
    """
    if isinstance(ids, str | bytes):
        raise DataError(f"{ids!r} is one id; give a list of ids")
    try:
        series = ids if isinstance(ids, pl.Series) else pl.Series(ids)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(f"these are no ids: {error}; give all as integers, or all as text") from None
    if series.dtype == pl.Null:
        return series
    read = reader("item", series.dtype)
    if read is None:
        raise DataError(f"ids are integers or text, not {series.dtype}")
    return read(series)
