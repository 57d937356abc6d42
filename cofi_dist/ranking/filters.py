"""Find candidates for the lists of a block of users, by matrix products on different machines.

A filter passes on every pair that scores at most a margin below the user's k-th best. It may pass on more.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cofi_dist.ranking.pairs import UserItemPairs

# V users of a block, M items, K features, R left-out pairs.

Doubles = NDArray[np.float64]

BLOCK_SCORES = 2**20  # that are in memory at once, of each thread
USERS_AT_ONCE = 2**10  # enough that a block takes milliseconds


def can_compile() -> bool:
    """Tell whether loops may be compiled; an environment variable can forbid it."""
    from numba import config

    return not config.DISABLE_JIT


class Filter(Protocol):
    """Find candidates among the items that it was made of."""

    @property
    def dtype(self) -> type[np.floating]:
        """Return in which precision scores are computed; the margins have to allow for it."""

    @property
    def runs_on_threads(self) -> bool:
        """Tell whether threads had better filter blocks of users at the same time."""

    def users_at_once(self, k: int) -> int:
        """Return the users of a block."""

    def candidates(
        self, w: Doubles, margins: Doubles, k: int, left_out: UserItemPairs
    ) -> tuple[UserItemPairs, NDArray[np.int64]]:
        """Return the candidates, each once, and the users for whom this filter does not do.

        Args:
            w: user weights, (V, K).
            margins: (V,); nan if scores may overflow.
            k: length of a list.
            left_out: what single users do not get, in the order of users and items; may be there twice.
        """


class PlainFilter:
    """Compute scores in float64 by numpy, which needs no compiled code; it does for all users.

    Args:
        X: item features, (M, K).
        offset: (M,).
    """

    dtype, runs_on_threads = np.float64, False

    def __init__(self, X: Doubles, offset: Doubles) -> None:
        self._X, self._offset = X, offset

    def users_at_once(self, k: int) -> int:
        """Return the users of a block."""
        return max(1, BLOCK_SCORES // max(1, len(self._X)))

    def candidates(
        self, w: Doubles, margins: Doubles, k: int, left_out: UserItemPairs
    ) -> tuple[UserItemPairs, NDArray[np.int64]]:
        """Return the candidates; of a user without a margin, all items."""
        num_items = len(self._X)
        with np.errstate(all="ignore"):
            scores = w @ self._X.T + self._offset
        scores[left_out.user, left_out.item] = -np.inf
        if k >= num_items:
            limits = np.full(len(w), -np.inf)
        else:
            limits = np.partition(scores, num_items - k, axis=1)[:, num_items - k] - margins
        is_passed = ~(scores < limits[:, None]) | np.isnan(limits)[:, None]
        is_passed[left_out.user, left_out.item] = False
        return UserItemPairs(*np.nonzero(is_passed)), np.empty(0, np.int64)


class CompiledFilter:
    """Compute scores in float32 in loops that are compiled for this processor.

    Args:
        X: item features, (M, K).
        offset: (M,).
    """

    dtype, runs_on_threads = np.float32, True

    def __init__(self, X: Doubles, offset: Doubles) -> None:
        from cofi_dist.kernels.cpu import best_scores  # it takes time to import the compiler

        self._loops, self._num_items = best_scores, len(X)
        self._panels = best_scores.item_panels(X, offset)

    def users_at_once(self, k: int) -> int:
        """Return the users of a block."""
        size = self._loops.buffer_size(self._num_items, k)
        return max(1, min(USERS_AT_ONCE, BLOCK_SCORES // size))

    def candidates(
        self, w: Doubles, margins: Doubles, k: int, left_out: UserItemPairs
    ) -> tuple[UserItemPairs, NDArray[np.int64]]:
        """Return the candidates, and the users who have no margin or more candidates than were expected."""
        start = np.searchsorted(left_out.user, np.arange(len(w) + 1))
        own = self._loops.LeftOut(start, left_out.item)
        found = self._loops.find(self._panels, w, margins, (k, self._num_items), own)
        is_used = np.arange(found.item.shape[1]) < found.used[: len(w), None]
        user, place = np.nonzero(is_used)
        item = found.item[user, place].astype(np.int64)
        return UserItemPairs(user, item), np.flatnonzero(found.used[: len(w)] < 0)
