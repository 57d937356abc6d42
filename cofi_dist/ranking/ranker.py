"""Find the best items of many users: a fast filter passes on all that might be listed, and float64 decides.

The filter is a matrix product of limited precision. Of each user it passes on every item that scores at most
a margin below the k-th best (`cofi_dist.ranking.error_bound`), so it loses nothing. What is passed on is
scored in float64 in one order of sums (`cofi_dist.ranking.top_k`), so lists have the same bits whatever the
filter, the blocks, the threads or the device.
"""

import numpy as np
from numpy.typing import NDArray

from cofi_dist.ranking.device_filter import DEVICE_SCORES, DeviceFilter
from cofi_dist.ranking.error_bound import ItemSizes
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.top_k import TopK, pair_scores, settle

# U users of a batch, V users of a block, M items, K features.

BLOCK_SCORES = 2**20  # that are in memory at once


class Ranker:
    """Rank the items of a model, all but those that nobody gets.

    Args:
        X: item features, (M, K) float64.
        offset: o, (M,) float64.
        left_out: whether nobody gets an item, (M,); None if everybody may get each.
        device: where the filter works: `cpu`, or a device of CUDA as torch names it.
    """

    def __init__(
        self,
        X: NDArray[np.float64],
        offset: NDArray[np.float64],
        left_out: NDArray[np.bool_] | None = None,
        device: str = "cpu",
    ) -> None:
        self._place: NDArray[np.int64] | None = None
        self._rows = np.arange(len(X))
        if left_out is not None and left_out.any():
            self._rows = np.flatnonzero(~left_out)
            self._place = np.full(len(X), -1)
            self._place[self._rows] = np.arange(len(self._rows))
            X, offset = X[self._rows], offset[self._rows]
        self._X, self._offset = X, offset
        self._sizes = ItemSizes.of(X, offset)
        self._filter = None if device == "cpu" else DeviceFilter(X, offset, device)

    def best(self, w: NDArray[np.float64], b: NDArray[np.float64], k: int, left_out: UserItemPairs) -> TopK:
        """Return the k best items of each user of a batch, best first; ties are in the order of X.

        Args:
            w: user weights, (U, K).
            b: user biases, (U,).
            k: at least 1; fewer items are listed if no more are left.
            left_out: what single users do not get, in any order; `user` is a row of w.
        """
        if self._place is not None:
            left_out = UserItemPairs(left_out.user, self._place[left_out.item])
            left_out = left_out.masked(left_out.item >= 0)
        order = np.argsort(left_out.user, kind="stable")
        left_out = UserItemPairs(left_out.user[order], left_out.item[order])
        block_scores = BLOCK_SCORES if self._filter is None else DEVICE_SCORES
        step = max(1, block_scores // max(1, len(self._X)))
        found = [
            self._best_of_block(start, w[start : start + step], b[start : start + step], k, left_out)
            for start in range(0, len(w), step)
        ]
        none = np.empty(0, np.int64)
        found = found or [TopK(none, none, none, np.empty(0))]
        user, item, rank, score = (
            np.concatenate([getattr(lists, name) for lists in found])
            for name in ("user", "item", "rank", "score")
        )
        return TopK(user, self._rows[item], rank, score)

    def _best_of_block(
        self, start: int, w: NDArray[np.float64], b: NDArray[np.float64], k: int, left_out: UserItemPairs
    ) -> TopK:
        """Return the lists of users that follow each other from row `start` on."""
        mine = slice(*np.searchsorted(left_out.user, (start, start + len(w))))
        pairs = UserItemPairs(left_out.user[mine] - start, left_out.item[mine])
        find = self._candidates if self._filter is None else self._filter.passed
        candidates = find(w, b, k, pairs)
        lists = settle(candidates, pair_scores(self._X, self._offset, w, b, candidates), k)
        return TopK(lists.user + start, lists.item, lists.rank, lists.score)

    def _candidates(
        self, w: NDArray[np.float64], b: NDArray[np.float64], k: int, left_out: UserItemPairs
    ) -> UserItemPairs:
        """Return all pairs that might be listed."""
        num_items = len(self._X)
        margins = self._sizes.margins(w, b, np.float64)
        with np.errstate(all="ignore"):
            scores = w @ self._X.T + self._offset
        scores[left_out.user, left_out.item] = -np.inf
        if k >= num_items:
            limits = np.full(len(w), -np.inf)
        else:
            limits = np.partition(scores, num_items - k, axis=1)[:, num_items - k] - margins
        # of a user without a margin, all is passed on
        is_passed = ~(scores < limits[:, None]) | np.isnan(limits)[:, None]
        is_passed[left_out.user, left_out.item] = False
        return UserItemPairs(*np.nonzero(is_passed))
