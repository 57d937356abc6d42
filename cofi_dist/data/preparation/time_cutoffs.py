"""Cutoffs of splits by time: the latest time that stays in training."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import Split
from cofi_dist.data.preparation.spool import Spool
from cofi_dist.data.splits import Part, assign_parts

SIGN_BIT = np.uint64(1 << 63)


def time_cutoffs(spools: Sequence[Spool], splits: dict[Part, Split]) -> dict[Part, float]:
    """For each split by time, the latest time that stays in training.

    Args:
        spools: of all ratings, each with whole users, in order.
        splits: as `held_out` gives them.
    """
    cutoffs: dict[Part, float] = {}
    before: dict[Part, Split] = {}
    for part, split in splits.items():
        if split.by == "time":
            assert split.fraction is not None

            def free_times() -> Iterator[NDArray[np.float64]]:
                for spool in spools:
                    rows = spool.whole()
                    free = assign_parts(rows["user"], rows["item"], before, rows["time"], cutoffs) == 0
                    yield rows["time"][free]

            cutoffs[part] = _cutoff(free_times, split.fraction)
        before[part] = split
    return cutoffs


def _cutoff(times: Callable[[], Iterator[NDArray[np.float64]]], fraction: float) -> float:
    """The earliest time after which come at most `fraction` of all, found 16 bits at a time."""
    total = sum(map(len, times()))
    may_follow = min(round(fraction * total), total - 1)
    found = 0  # the leading bits of its key
    for shift in (48, 32, 16, 0) if total else ():
        counts = np.zeros(2**16, np.int64)
        for time in times():
            key = _keys(time) >> np.uint64(shift)
            next_bits = key[key >> np.uint64(16) == found] & np.uint64(0xFFFF)
            counts += np.bincount(next_bits.astype(np.int64), minlength=2**16)
        from_top = np.cumsum(counts[::-1])[::-1]
        holds_cutoff = int(np.flatnonzero(from_top > may_follow)[-1])
        may_follow -= int(from_top[holds_cutoff] - counts[holds_cutoff])
        found = found << 16 | holds_cutoff
    return _time_of(found)


def _keys(time: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Unsigned integers in the order of the times."""
    bits = (time + 0.0).view(np.uint64)  # no -0.0, whose bits differ from those of 0.0
    return np.where(bits & SIGN_BIT, ~bits, bits | SIGN_BIT)


def _time_of(key: int) -> float:
    """The time that has this key."""
    bits = np.uint64(key)
    return float((bits ^ SIGN_BIT if bits & SIGN_BIT else ~bits).view(np.float64))
