"""Find out why a split holds out nothing, and say what to do instead."""

from collections.abc import Sequence

import numpy as np

from cofi_dist.config import SplitSection
from cofi_dist.data.preparation.spool import Spool
from cofi_dist.data.splits import Part
from cofi_dist.errors import DataError


def refuse_equal_times(name: str, spools: Sequence[Spool], splits: dict[Part, SplitSection]) -> None:
    """Raise DataError, with the name of the input, if a split needs times but all of them are equal."""
    total = sum(map(len, spools))
    part = next((part for part, split in splits.items() if split.needs_times), None)
    if part is None or total == 1:
        return
    times = [spool.whole()["time"] for spool in spools if len(spool)]
    lowest, highest = min(map(np.min, times)), max(map(np.max, times))
    if lowest == highest:
        raise DataError(
            f"{name}: data.{part}: all {total:,} ratings have the same timestamp, {lowest:.15g}:"
            " none is newer than another; use by: random or leave_one_out"
        )


def why_empty(split: SplitSection, num_ratings: int) -> str:
    """Say why a split of so many ratings holds out none of them, and what to do."""
    if split.by == "leave_one_out":
        return "no user has two ratings to choose from; use by: random"
    if split.by == "last":
        return f"no user has more than {split.n} ratings to choose from; lower n, or use by: random"
    if split.by == "time" and split.fraction is not None and round(split.fraction * num_ratings):
        return "too many ratings share the newest timestamp; hold out more, or use by: random"
    return "there are few ratings; hold out more"
