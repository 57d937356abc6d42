"""Measure how the items are spread over the lists of all users."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# M items.


@dataclass(frozen=True)
class Exposure:
    """Hold how the items are spread over the lists.

    Attributes:
        coverage: share of all items that are in any list.
        gini: Gini coefficient of the numbers of lists that items are in: 0 if all items are in equally many,
            near 1 if a few items fill all lists.
    """

    coverage: float
    gini: float

    @classmethod
    def of(cls, lists_M: NDArray[np.float64]) -> "Exposure | None":
        """Measure the numbers of lists that each item is in, (M,); None if there is no list."""
        total, num_items = lists_M.sum(), len(lists_M)
        if not total:
            return None
        place = np.arange(1, num_items + 1)  # of the item, from the rarest on
        gini = 2 * (place * np.sort(lists_M)).sum() / (num_items * total) - (num_items + 1) / num_items
        return cls(coverage=float((lists_M > 0).mean()), gini=float(gini))
