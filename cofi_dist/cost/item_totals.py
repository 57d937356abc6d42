"""Sum over all items where each rank owns some of them: the squares of their rows, and their Gram matrix.

K features, M items.
"""

from typing import Protocol

from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.item_sums import ItemGram, ItemSquares
from cofi_dist.sharding.ranges import UserRange


class ItemTotals(Protocol):
    """Hold sums over all items, once `to_reduce` is summed and all blocks are added.

    Attributes:
        to_reduce: what is to be summed over the ranks, (1, ...) each; the sum replaces it.
        squares: what `Regulariser.item_squares` returns for all items, if they were asked for.
        columns: squares of X's columns, weighted by the items' curvature, (K,), if that was given.
        gram: G_X, (K + 2, K + 2), if the unknown pairs have a weight.
    """

    to_reduce: tuple[Tensor, ...]

    def add(self, block: UserRange, rows: Side[Tensor]) -> None:
        """Add the rows of a block of items, which is the next one."""
        ...

    @property
    def squares(self) -> tuple[Tensor, Tensor | None]: ...

    @property
    def columns(self) -> Tensor: ...

    @property
    def gram(self) -> Tensor | None: ...


class TotalsInOrder:
    """Add the rows of all items on every rank, in their order: the bits are those of sums over a whole X.

    Args:
        num_items: M.
        factors: those of this rank.
        scale_X: the regulariser's, of all items, (M,); None if p = 0.
        has_gram: whether the unknown pairs have a weight.
        with_squares: whether the squares are needed.
        curvature: the `RidgeTerm.curvature` of all items, (M,); None if the columns are not needed.
    """

    to_reduce: tuple[Tensor, ...] = ()

    def __init__(
        self,
        num_items: int,
        factors: Factors,
        scale_X: Tensor | None,
        *,
        has_gram: bool,
        with_squares: bool = True,
        curvature: Tensor | None = None,
    ) -> None:
        X, K = factors.X, factors.X.shape[1]
        self._scale_X, self._curvature = scale_X, curvature
        self._X2 = ItemSquares(num_items, K, X) if with_squares else None
        self._c2 = ItemSquares(num_items, 1, X) if with_squares and factors.c is not None else None
        self._columns = None if curvature is None else ItemSquares(num_items, K, X)
        self._gram = ItemGram(num_items, K, X) if has_gram else None

    def add(self, block: UserRange, rows: Side[Tensor]) -> None:
        """Add the rows of a block of items, which is the next one."""
        span = slice(block.start, block.stop)
        if self._gram is not None:
            self._gram.add(rows)
        if self._columns is not None and self._curvature is not None:
            self._columns.add(rows.features, self._curvature[span])
        if self._X2 is not None:
            self._X2.add(rows.features, None if self._scale_X is None else self._scale_X[span])
        if self._c2 is not None:
            self._c2.add(rows.bias[:, None])

    @property
    def squares(self) -> tuple[Tensor, Tensor | None]:
        assert self._X2 is not None
        return self._X2.total, None if self._c2 is None else self._c2.total

    @property
    def columns(self) -> Tensor:
        assert self._columns is not None
        return self._columns.columns

    @property
    def gram(self) -> Tensor | None:
        return None if self._gram is None else self._gram.total


class TotalsOfShards:
    """Sum over this rank's own items, and then over the ranks: a small message, for which no X travels.

    Args:
        factors: those of this rank.
        objective: J.
        sums: sums over rows.
        unknown: the unknown pairs; None if they have no weight.
        with_squares: whether the squares are needed.
        curvature: the `RidgeTerm.curvature` of the own items; None if the columns are not needed.
    """

    def __init__(
        self,
        factors: Factors,
        objective: Objective,
        sums: BlockSums,
        unknown: UnknownPairs | None,
        *,
        with_squares: bool = True,
        curvature: Tensor | None = None,
    ) -> None:
        self._squares = objective.item_squares(factors) if with_squares else (None, None)
        self._columns = None
        if curvature is not None:
            self._columns = sums.column_squares_over_items(factors.X, curvature)
        self._gram = None if unknown is None else unknown.gram_of_items(factors)
        parts = (*self._squares, self._columns, self._gram)
        self.to_reduce = tuple(part.view(1, *part.shape) for part in parts if part is not None)

    def add(self, block: UserRange, rows: Side[Tensor]) -> None:
        """Add nothing: these rows' owners have."""

    @property
    def squares(self) -> tuple[Tensor, Tensor | None]:
        X2, c2 = self._squares
        assert X2 is not None
        return X2, c2

    @property
    def columns(self) -> Tensor:
        assert self._columns is not None
        return self._columns

    @property
    def gram(self) -> Tensor | None:
        return self._gram
