"""Sum over all items where each rank owns some of them.

K features, M items.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import BlockSums, ordered_sum
from cofi_dist.kernels.item_sums import ItemGram, ItemSquares
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
        X, num_items = self.factors.X, self.items.shards.num_items
        columns, X2 = (ItemSquares(num_items, X.shape[1], X) for _ in range(2))
        c2, gram = ItemSquares(num_items, 1, X), ItemGram(num_items, X.shape[1], X)
        has_bias, scale_X = self.factors.c is not None, self.scale_X

        def add(number: int, rows: Side[Tensor]) -> None:
            block = self.items.blocks[number]
            span = slice(block.start, block.stop)
            columns.add(rows.features, self.curvature[span])
            X2.add(rows.features, None if scale_X is None else scale_X[span])
            if has_bias:
                c2.add(rows.bias[:, None])
            if self.unknown is not None:
                gram.add(rows)

        yield from self.items.over(own, add)
        squares = X2.total, c2.total if has_bias else None
        return columns.columns, ItemTotals(squares, None if self.unknown is None else gram.total)

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
        X2, c2 = self.objective.item_squares(self.factors)
        columns = self.sums.column_squares_over_items(own.features, self.curvature)
        parts = [part for part in (columns.to(X2.dtype), X2, c2) if part is not None]
        if self.unknown is not None:
            parts.append(self.unknown.gram_of_items(self.factors))
        packed = torch.cat([part.flatten() for part in parts])[None]
        yield PendingSum(packed)
        pieces = torch.split(packed[0], [part.numel() for part in parts])
        columns, X2, *others = (piece.view_as(part) for piece, part in zip(pieces, parts, strict=True))
        gram = None if self.unknown is None else others.pop()
        return columns.to(own.features.dtype), ItemTotals((X2, others[0] if others else None), gram)

    def sum(self, own: Tensor) -> Generator[Pending, None, Tensor]:
        """Sum over the own items, and then over the ranks."""
        total = ordered_sum(own)[None]
        yield PendingSum(total)
        return total[0]
