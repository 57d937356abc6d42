"""Find the items that may be among a user's k best, in float32, compiled by numba.

The scores are compared with a limit as they are computed, and are never stored. A user's limit is the k-th
best score so far, less a margin. What reaches it is put into the user's buffer. When the buffer is full, the
k-th best is searched in it, and what falls below the new limit is dropped.

V users of a block, M items, P panels, K features, C entries of a buffer.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cofi_dist.kernels.cpu.jit import CONTRACT, compiled, inlined
from cofi_dist.kernels.cpu.score_tiles import ITEMS, USERS, bits_at_least, lowest_bit, tile_scores

single_thread = compiled(**CONTRACT, nogil=True, _nrt=False)

# Enough to tell the k-th best score from the next one, unless others are a million times as large.
BISECTIONS = 40

ROOM = 32  # a buffer has twice k entries, and at least these beyond k

BLOCK_USERS = 40 * USERS  # whose weights and buffers stay in cache while the panels are read

Float32s = NDArray[np.float32]


class LeftOut(NamedTuple):
    """Hold the items that each user does not get.

    Attributes:
        start: where each user's items begin, and where the last ones end, (V + 1,).
        item: ascending for each user; some may be there twice.
    """

    start: NDArray[np.int64]
    item: NDArray[np.int64]


class Buffers(NamedTuple):
    """Hold what a block's users have found so far.

    Attributes:
        score, item: what may be among the k best, (V, C).
        used: entries used, (V,); -1 if they did not suffice.
        limit: what an item has to reach, (V,); nan for none any more.
        place: the user's next left-out item, (V,).
        tile: scores of a tile, (USERS, ITEMS).
    """

    score: Float32s
    item: NDArray[np.int32]
    used: NDArray[np.int32]
    limit: Float32s
    place: NDArray[np.int64]
    tile: Float32s


def buffer_size(num_items: int, k: int) -> int:
    """Return the entries of a user's buffer, C."""
    return max(1, min(num_items, max(2 * k, k + ROOM)))


def find(
    panels: Float32s,
    w: NDArray[np.floating],
    margins: NDArray[np.float64],
    size: tuple[int, int],
    left_out: LeftOut,
) -> Buffers:
    """Return the buffers of some users; see `find_candidates`.

    Args:
        panels: of the items.
        w: user weights, (V, K).
        margins: (V,).
        size: k, and the number of items.
        left_out: items that each user does not get.
    """
    k, num_items = size
    W = np.zeros((-(-len(w) // USERS) * USERS, w.shape[1]), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # of users without a margin
        W[: len(w)] = w
    found = _buffers(len(W), buffer_size(num_items, k))
    find_candidates(panels, W, margins, k, left_out, found)
    return found


def _buffers(padded: int, size: int) -> Buffers:
    return Buffers(
        score=np.empty((padded, size), np.float32),
        item=np.empty((padded, size), np.int32),
        used=np.empty(padded, np.int32),
        limit=np.empty(padded, np.float32),
        place=np.empty(padded, np.int64),
        tile=np.empty((USERS, ITEMS), np.float32),
    )


def item_panels(X: NDArray[np.floating], offset: NDArray[np.floating]) -> Float32s:
    """Return X, (M, K), and offsets, (M,), as panels for `tile_scores`; what fills the last scores -inf."""
    num_items, K = X.shape
    num_panels = -(-num_items // ITEMS)
    room = np.empty(num_panels * (K + 1) * ITEMS + ITEMS, np.float32)
    start = -room.ctypes.data % 64 // 4  # vectors that lie in one line of the cache are read faster
    panels = room[start : start + num_panels * (K + 1) * ITEMS].reshape(num_panels, K + 1, ITEMS)
    for panel in range(num_panels):
        items = slice(panel * ITEMS, (panel + 1) * ITEMS)
        here = offset[items]
        panels[panel, 0, : len(here)], panels[panel, 0, len(here) :] = here, -np.inf
        panels[panel, 1:, : len(here)], panels[panel, 1:, len(here) :] = X[items].T, 0
    return panels


@inlined
def _at_most_kth_best(scores, count, k):
    """Return a number that k of the first `count` scores reach, and hardly more; there are k of them.

    By bisection, whose counting needs no branches.
    """
    low, high = scores[0], scores[0]
    for n in range(count):
        low, high = min(low, scores[n]), max(high, scores[n])
    for _ in range(BISECTIONS):
        middle = np.float32(0.5) * (low + high)
        reached = np.int64(0)
        for n in range(count):
            reached += np.int64(scores[n] >= middle)
        if reached >= k:
            low = middle
        else:
            high = middle
        if reached == k:
            break
    return low


@inlined
def _drop_what_is_beaten(u, k, margin, found):
    """Raise a user's limit to the k-th best score so far, less the margin, and drop what is below it."""
    scores, items, count = found.score[u], found.item[u], found.used[u]
    limit = np.float32(np.float64(_at_most_kth_best(scores, count, k)) - margin)
    found.limit[u] = limit
    kept = np.int64(0)
    for n in range(count):
        score = scores[n]
        scores[kept], items[kept] = score, items[n]
        kept += np.int64(score >= limit)  # without a branch, as it cannot be predicted
    found.used[u] = kept


@inlined
def _bits_of_left_out(u, first_item, left_out, found):
    """Return a word of the items of a panel that the user does not get."""
    word, place, stop = np.uint64(0), found.place[u], left_out.start[u + 1]
    while place < stop and left_out.item[place] < first_item + ITEMS:
        if left_out.item[place] >= first_item:
            word |= np.uint64(1) << np.uint64(left_out.item[place] - first_item)
        place += 1
    found.place[u] = place
    return word


@inlined
def _keep(bits, tile_row, u, first_item, k, margin, found):
    """Put the items of a panel whose bits are set into the user's buffer."""
    size = found.score.shape[1]
    while bits:
        if found.used[u] == size:
            _drop_what_is_beaten(u, k, margin, found)
            if found.used[u] == size:
                found.used[u], found.limit[u] = -1, np.nan  # which nothing reaches
                return
            bits &= bits_at_least(found.tile, tile_row, found.limit[u])
            continue
        bit = lowest_bit(bits)
        bits &= bits - np.uint64(1)
        n = found.used[u]
        found.score[u, n], found.item[u, n] = found.tile[tile_row, bit], first_item + bit
        found.used[u] = n + 1


@single_thread
def find_candidates(panels, W, margins, k, left_out, found):
    """Fill the buffers with all items that may be among the k best of each user of a block.

    Args:
        panels: of the items, from `item_panels`.
        W: user weights in float32, with rows to fill the last tile, (V', K).
        margins: how much less than the k-th best score a listed item may have, (V,); nan for none.
        k: length of a list.
        left_out: `LeftOut`.
        found: `Buffers`, is overwritten. A user whose buffer did not suffice has -1 in `used`.
    """
    num_users = margins.shape[0]
    for u in range(W.shape[0]):
        found.used[u], found.limit[u] = 0, -np.finfo(np.float32).max
        if u < num_users:
            found.place[u] = left_out.start[u]
        if u >= num_users or not margins[u] >= 0:
            found.used[u], found.limit[u] = -1, np.nan  # which nothing reaches
    for block in range(0, W.shape[0], BLOCK_USERS):
        for panel in range(panels.shape[0]):
            first_item = panel * ITEMS
            for first in range(block, min(block + BLOCK_USERS, W.shape[0]), USERS):
                tile_scores(panels, panel, W, first, found.tile)
                for row in range(USERS):
                    u = first + row
                    bits = bits_at_least(found.tile, row, found.limit[u])
                    if bits:
                        bits &= ~_bits_of_left_out(u, first_item, left_out, found)
                        _keep(bits, row, u, first_item, k, margins[u], found)
    for u in range(num_users):
        if found.used[u] > k:
            _drop_what_is_beaten(u, k, margins[u], found)
