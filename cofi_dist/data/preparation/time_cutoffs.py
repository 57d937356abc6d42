"""Find the cutoffs of splits by time: the latest time that stays in training."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import SplitSection
from cofi_dist.data.preparation.spool import Spool
from cofi_dist.data.splits import Part, assign_parts

SIGN_BIT = np.uint64(1 << 63)


def time_cutoffs(spools: Sequence[Spool], splits: dict[Part, SplitSection]) -> dict[Part, float]:
    """Return, for each split by time, the latest time that stays in training.

    Args:
        spools: all ratings; every spool has whole users.
        splits: in the order of `held_out`; each takes its ratings from those that the earlier ones left.
    """
    cutoffs: dict[Part, float] = {}
    earlier: dict[Part, SplitSection] = {}
    for part, split in splits.items():
        if split.by == "time":
            assert split.fraction is not None
            times = partial(_remaining_times, spools, earlier, cutoffs)
            cutoffs[part] = _cutoff(times, split.fraction)
        earlier[part] = split
    return cutoffs


def _remaining_times(
    spools: Sequence[Spool], earlier: dict[Part, SplitSection], cutoffs: dict[Part, float]
) -> Iterator[NDArray[np.float64]]:
    """Yield the times of the ratings that the earlier splits left."""
    for spool in spools:
        rows = spool.whole()
        remains = (
            assign_parts(rows["user"], rows["item"], earlier, rows["time"], cutoffs, rows.get("part")) == 0
        )
        yield rows["time"][remains]


def _cutoff(times: Callable[[], Iterator[NDArray[np.float64]]], fraction: float) -> float:
    """Find the earliest time after which come at most `fraction` of all times.

    Times are mapped to 64-bit keys of the same order. The cutoff's key is found 16 bits at a time, from the
    top, with a histogram per pass: exact, and in memory that does not grow with the number of times.

    Args:
        times: yields all times, in pieces, each time it is called.
        fraction: of all times.
    """
    total = sum(map(len, times()))
    may_follow = min(round(fraction * total), total - 1)
    prefix = 0  # the leading bits of the cutoff's key
    for shift in (48, 32, 16, 0) if total else ():
        histogram = np.zeros(2**16, np.int64)
        for piece in times():
            key = _keys(piece) >> np.uint64(shift)
            next_bits = key[key >> np.uint64(16) == prefix] & np.uint64(0xFFFF)
            histogram += np.bincount(next_bits.astype(np.int64), minlength=2**16)
        # times in this bin or above; the cutoff is in the highest bin where that is too many
        from_here_up = np.cumsum(histogram[::-1])[::-1]
        cutoff_bin = int(np.flatnonzero(from_here_up > may_follow)[-1])
        may_follow -= int(from_here_up[cutoff_bin] - histogram[cutoff_bin])
        prefix = prefix << 16 | cutoff_bin
    return _time_of(prefix)


def _keys(time: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Map times to unsigned integers of the same order."""
    bits = (time + 0.0).view(np.uint64)  # turns -0.0, whose bits differ, into 0.0
    return np.where(bits & SIGN_BIT, ~bits, bits | SIGN_BIT)


def _time_of(key: int) -> float:
    """Return the time that has this key."""
    bits = np.uint64(key)
    return float((bits ^ SIGN_BIT if bits & SIGN_BIT else ~bits).view(np.float64))
