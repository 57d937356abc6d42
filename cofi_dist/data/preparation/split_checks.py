"""Check what splits hold out, and say what to do if it makes no sense."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import SplitSection
from cofi_dist.data.preparation.spool import Spool
from cofi_dist.data.readers.listing import identity
from cofi_dist.data.readers.ratings_files import RatingsFiles
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.data.splits import PARTS, Part
from cofi_dist.errors import DataError
from cofi_dist.words import counted, have


def refuse_shared_files(inputs: Mapping[Part, RatingsInput]) -> None:
    """Raise DataError if a file is of two parts, as where the folder of the ratings holds those held out."""
    seen: dict[str, Part] = {}
    for part, given in inputs.items():
        for file in given.files if isinstance(given, RatingsFiles) else ():
            other = seen.setdefault(identity(file), part)
            if other != part:
                names = ("data.ratings" if each == "train" else f"data.{each}.file" for each in (other, part))
                raise DataError(f"{file}: is in {' and in '.join(names)}; leave it out of one of them")


def refuse_equal_times(name: str, spools: Sequence[Spool], splits: dict[Part, SplitSection]) -> None:
    """Raise DataError, with the name of the input, if a split needs times but all of them are equal."""
    total = sum(map(len, spools))
    part = next((part for part, split in splits.items() if split.needs_times), None)
    if part is None or total == 1:
        return
    times = [time for time in map(_times, spools) if len(time)]
    lowest, highest = min(map(np.min, times)), max(map(np.max, times))
    if lowest == highest:
        raise DataError(
            f"{name}: data.{part}: all {total:,} ratings have the same timestamp, {lowest:.15g}:"
            " none is newer than another; use by: random or leave_one_out"
        )


def _times(spool: Spool) -> NDArray[np.float64]:
    """Return the times of the ratings that are not of a part with a file of its own."""
    rows = spool.whole()
    times: NDArray[np.float64] = rows["time"]
    return times[rows["part"] == 0] if "part" in rows else times


def pairs_in_two_parts(
    user: NDArray[np.integer], item: NDArray[np.integer], part_N: NDArray[np.int8]
) -> NDArray[np.int64]:
    """Count the pairs that are in one part and in another one: (parts, parts).

    Args:
        user: of each of N ratings, which are sorted by pair; a pair is in a part at most once.
        item: of each rating.
        part_N: their parts, as indices into PARTS.
    """
    shared = np.zeros((len(PARTS), len(PARTS)), np.int64)
    for step in range(1, len(PARTS)):
        same = (user[step:] == user[:-step]) & (item[step:] == item[:-step])
        np.add.at(shared, (part_N[:-step][same], part_N[step:][same]), 1)
    return shared


def notes_on_shared_pairs(shared: NDArray[np.int64]) -> list[str]:
    """Return a line about each two parts that share pairs, counted as `pairs_in_two_parts` does."""
    both = np.triu(shared + shared.T, 1)
    return [
        f"{counted(int(both[one, other]), 'pair')} of user and item {have(int(both[one, other]))} a rating in"
        f" {PARTS[one]} and another one in {PARTS[other]}"
        for one, other in np.argwhere(both)
    ]


def why_empty(split: SplitSection, num_ratings: int) -> str:
    """Say why a split of so many ratings holds out none of them, and what to do."""
    if split.by == "file":
        return "all of its users or items were dropped for having too few ratings"
    if split.by == "leave_one_out":
        return "no user has two ratings to choose from; use by: random"
    if split.by == "last":
        return f"no user has more than {split.n} ratings to choose from; lower n, or use by: random"
    if split.by == "time" and split.fraction is not None and round(split.fraction * num_ratings):
        return "too many ratings share the newest timestamp; hold out more, or use by: random"
    return "there are few ratings; hold out more"
