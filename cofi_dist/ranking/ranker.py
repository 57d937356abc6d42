"""Find the best items of many users: a fast filter passes on all that might be listed, and float64 decides.

The filter is a matrix product of limited precision. Of each user it passes on every item that scores at most
a margin below the k-th best (`cofi_dist.ranking.error_bound`), so it loses nothing. What is passed on is
scored in float64 in one order of sums (`cofi_dist.ranking.top_k`), so lists have the same bits whatever the
filter, the blocks, the threads or the device.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from cofi_dist.ranking.device_filter import DeviceFilter
from cofi_dist.ranking.error_bound import ItemSizes
from cofi_dist.ranking.filters import CompiledFilter, Doubles, Filter, PlainFilter, can_compile
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.top_k import TopK, pair_scores, settle
from cofi_dist.system.threads import in_order, num_threads

# U users of a batch, V users of a block, M items, K features.

# After so many scores, it takes less time to load the compiled loops than to go on without.
MANY_SCORES = 2**24


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
        self._X, self._offset, self._device = X, offset, device
        self._sizes = ItemSizes.of(X, offset)
        self._plain: Filter = PlainFilter(X, offset)
        self._fast: Filter | None = None if device == "cpu" else DeviceFilter(X, offset, device)
        self._num_scores, self._lock = 0, threading.Lock()

    @property
    def batches_at_once(self) -> int:
        """Return how many batches of users had better be ranked at once."""
        # on a device, whose memory is small, one is filtered while float64 decides the lists of another
        return num_threads() if self._device == "cpu" else min(2, num_threads())

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
        filter_ = self._filter_for(len(w))
        step = filter_.users_at_once(k)
        in_user_order = _by_user(left_out, len(self._X))

        def best_of(start: int) -> TopK:
            some = slice(start, start + step)
            return self._best_of_block(filter_, w[some], b[some], k, in_user_order, start)

        threads = num_threads() if filter_.runs_on_threads else 1
        return self._joined(list(in_order(best_of, range(0, len(w), step), threads)))

    def _filter_for(self, num_users: int) -> Filter:
        """Return the filter for so many more users; it takes time to load the compiled one."""
        with self._lock:
            self._num_scores += num_users * len(self._X)
            if self._fast is None and self._num_scores >= MANY_SCORES and can_compile():
                self._fast = CompiledFilter(self._X, self._offset)
            return self._fast or self._plain

    def _joined(self, blocks: list[TopK]) -> TopK:
        none = np.empty(0, np.int64)
        user, item, rank, score = (
            np.concatenate(
                [getattr(lists, name) for lists in blocks or [TopK(none, none, none, np.empty(0))]]
            )
            for name in ("user", "item", "rank", "score")
        )
        return TopK(user, self._rows[item], rank, score)

    def _best_of_block(
        self,
        filter_: Filter,
        w: Doubles,
        b: Doubles,
        k: int,
        left_out: UserItemPairs,
        start: int,
    ) -> TopK:
        """Return the lists of users that follow each other from row `start` on."""
        own = _of_block(left_out, start, len(w), len(self._X))
        margins = self._sizes.margins(w, b, filter_.dtype)
        candidates, others = filter_.candidates(w, margins, k, own)
        if len(others):
            more = self._candidates_of(others, w, b, k, own)
            candidates = UserItemPairs.joined(candidates, more)
        lists = settle(candidates, pair_scores(self._X, self._offset, w, b, candidates), k)
        return TopK(lists.user + start, lists.item, lists.rank, lists.score)

    def _candidates_of(
        self, users: NDArray[np.int64], w: Doubles, b: Doubles, k: int, left_out: UserItemPairs
    ) -> UserItemPairs:
        """Return what float64 finds for some users of a block; users of the same numbers share the work.

        To a user without training ratings, for example, all items of a model without biases are equal.
        """
        numbers = np.column_stack([w, b])[users]
        _, first, same = np.unique(numbers, axis=0, return_index=True, return_inverse=True)
        # so many are enough, as the items that the user does not get are among them
        wanted = k + np.bincount(left_out.user, minlength=len(w))[users]
        found, step = [], self._plain.users_at_once(k)
        for start in range(0, len(first), step):
            some = users[first[start : start + step]]
            mine = np.flatnonzero((same >= start) & (same < start + step))
            length, margins = int(wanted[mine].max()), self._sizes.margins(w[some], b[some], np.float64)
            candidates, _ = self._plain.candidates(w[some], margins, length, UserItemPairs.none())
            scores = pair_scores(self._X, self._offset, w[some], b[some], candidates)
            lists = settle(candidates, scores, length)
            starts = np.searchsorted(lists.user, np.arange(len(some) + 1))
            place = same[mine] - start
            counts = np.minimum(wanted[mine], np.diff(starts)[place])
            best = UserItemPairs.of_rows(starts[place], counts, lists.item)
            found.append(UserItemPairs(users[mine][best.user], best.item))
        candidates = UserItemPairs.joined(*found)
        return candidates.masked(~candidates.isin(left_out, len(self._X)))


def _by_user(pairs: UserItemPairs, num_items: int) -> UserItemPairs:
    """Return pairs in the order of their users."""
    if (pairs.user[1:] >= pairs.user[:-1]).all():
        return pairs
    keys = np.sort(pairs.user * num_items + pairs.item)
    return UserItemPairs(*np.divmod(keys, num_items))


def _of_block(pairs: UserItemPairs, start: int, num_users: int, num_items: int) -> UserItemPairs:
    """Return the pairs of some users, who are counted from `start`, in the order of users and items."""
    mine = slice(*np.searchsorted(pairs.user, (start, start + num_users)))
    user = pairs.user[mine] - start
    keys = np.sort(user * num_items + pairs.item[mine])  # leaves users where they are
    return UserItemPairs(user, keys - user * num_items)
