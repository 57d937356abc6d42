"""Sum over all items where each rank owns some of them.

K features, M items.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.item_totals import TotalsInOrder, TotalsOfShards
from cofi_dist.cost.objective import Objective
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import BlockSums, ordered_sum
from cofi_dist.optim.base import Pending, PendingExchange, PendingSum
from cofi_dist.optim.half_sweep import ItemTotals
from cofi_dist.optim.item_pass import ItemPass


class ItemNumbers(NamedTuple):
    """Hold what is known of each item, over all ranks.

    Attributes:
        counts: training ratings, (M,).
        curvature: sum of d_n (`cofi_dist.kernels.base`) over them, (M,).
        scale_X: the regulariser's, (M,), on the factors' device; None if p = 0.
    """

    counts: NDArray[np.number]
    curvature: NDArray[np.float64]
    scale_X: Tensor | None


class SumsOverItems(Protocol):
    """Sum over the items of all ranks; every rank gets the sums."""

    def over(self, own: Side[Tensor]) -> Generator[Pending, None, tuple[Tensor, ItemTotals]]:
        """Return the squares of X's columns, weighted by the items' curvature, (K,), and more sums.

        Args:
            own: this rank's rows of X and c.
        """
        ...

    def sum(self, own: Tensor) -> Generator[Pending, None, Tensor]:
        """Return the sum of a number per item, 0-dim; given are those of the own items."""
        ...


@dataclass(frozen=True)
class SumsInOrder:
    """Add all rows in the order of the items, on every rank, with the bits of sums over a whole X.

    Attributes:
        items: lets the items go by.
        factors: those of this rank.
        curvature: the `RidgeTerm.curvature` of all items, (M,).
        scale_X: as in `ItemNumbers`.
        unknown: the unknown pairs; None if they have no weight.
    """

    items: ItemPass
    factors: Factors
    curvature: Tensor
    scale_X: Tensor | None
    unknown: UnknownPairs | None

    def over(self, own: Side[Tensor]) -> Generator[Pending, None, tuple[Tensor, ItemTotals]]:
        """Let all rows go by."""
        num_items, has_gram = self.items.shards.num_items, self.unknown is not None
        totals = TotalsInOrder(
            num_items, self.factors, self.scale_X, has_gram=has_gram, curvature=self.curvature
        )

        def add(number: int, rows: Side[Tensor]) -> None:
            totals.add(self.items.blocks[number], rows)

        yield from self.items.over(own, add)
        return totals.columns, ItemTotals(totals.squares, totals.gram)

    def sum(self, own: Tensor) -> Generator[Pending, None, Tensor]:
        """Gather the numbers, and add them in the order of the items."""
        shards = self.items.shards
        owned = [shards.owned(rank) for rank in range(shards.world_size)]
        size = max(sum(map(len, of_rank)) for of_rank in owned)
        part, whole = own.new_zeros(size), own.new_empty(shards.world_size * size)
        part[: len(own)] = own
        yield PendingExchange(gathers=[(part, whole)])
        in_order = own.new_empty(shards.num_items)
        for of_rank, numbers in zip(owned, whole.view(-1, size), strict=True):
            done = 0
            for items in of_rank:
                in_order[items.start : items.stop] = numbers[done : done + len(items)]
                done += len(items)
        return ordered_sum(in_order)


@dataclass(frozen=True)
class SumsOfShards:
    """Sum over the own rows, and then over the ranks: a small message, for which no X travels.

    Attributes:
        factors, unknown: as for `SumsInOrder`.
        objective: J.
        sums: sums over rows.
        curvature: the `RidgeTerm.curvature` of the own items.
    """

    factors: Factors
    objective: Objective
    sums: BlockSums
    curvature: Tensor
    unknown: UnknownPairs | None

    def over(self, own: Side[Tensor]) -> Generator[Pending, None, tuple[Tensor, ItemTotals]]:
        """Sum over the own rows, and then over the ranks."""
        totals = TotalsOfShards(
            self.factors, self.objective, self.sums, self.unknown, curvature=self.curvature
        )
        yield PendingSum(*totals.to_reduce)
        return totals.columns, ItemTotals(totals.squares, totals.gram)

    def sum(self, own: Tensor) -> Generator[Pending, None, Tensor]:
        """Sum over the own items, and then over the ranks."""
        total = ordered_sum(own)[None]
        yield PendingSum(total)
        return total[0]
