"""Turn sums over users into averages and their intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.ranking.bootstrap import Interval, interval


@dataclass(frozen=True)
class Average:
    """Say which sums over users make a figure: `transform(sum of name / sum of count)`."""

    name: str
    count: str
    transform: Callable[[NDArray[np.float64]], NDArray[np.float64]] = np.asarray


@dataclass(frozen=True)
class UserSums:
    """Hold sums over users.

    Attributes:
        total: each sum, by name.
        replicates: each sum in each replicate of the users, (REPLICATES,).
    """

    total: Mapping[str, float]
    replicates: Mapping[str, NDArray[np.float64]]

    def average(self, of: Average) -> float | None:
        """Return a figure; None if nobody counts for it."""
        count = self.total[of.count]
        return float(of.transform(np.array(self.total[of.name] / count))) if count else None

    def intervals(self, figures: Mapping[str, Average], num_users: float) -> dict[str, Interval]:
        """Return the 95 % interval of each figure; fewer than two users tell nothing of others."""
        if num_users < 2:
            return {}
        with np.errstate(invalid="ignore"):  # a replicate may consist of nobody
            found = {
                name: interval(of.transform(self.replicates[of.name] / self.replicates[of.count]))
                for name, of in figures.items()
            }
        return {name: limits for name, limits in found.items() if limits is not None}


def plain_averages(names: Sequence[str], count: str) -> dict[str, Average]:
    """Return figures that are averages over users."""
    return {name: Average(name, count) for name in names}
