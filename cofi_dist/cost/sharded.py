"""Compute the error term where each rank owns some of the items, while their rows go by block by block.

U users of this rank, M items, K features; T subtrees and B blocks of the users
(`cofi_dist.sharding.reduction_tree`).
"""

import torch
from torch import Tensor

from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import ordered_row_sums
from cofi_dist.kernels.gram import add_gram_product
from cofi_dist.kernels.item_blocks import ItemBlocks
from cofi_dist.kernels.item_sums import ItemGram, ItemSquares


class ShardedCost:
    """Form the sums that `cofi_dist.cost.sparse.SparseCost` forms, with the same bits on a CPU.

    Args:
        ratings: this rank's ratings.
        num_items: M.
        scale_X: the regulariser's, of all items, (M,); None if p = 0.
        unknown: the unknown pairs; None if they have no weight.
        user_bias: whether b is learnt; else its gradient is zero.

    Attributes:
        sums: sums over the rows of this rank's users.
    """

    def __init__(
        self,
        ratings: ItemBlocks,
        num_items: int,
        scale_X: Tensor | None = None,
        unknown: UnknownPairs | None = None,
        *,
        user_bias: bool = True,
    ) -> None:
        self.ratings, self.num_items, self.scale_X = ratings, num_items, scale_X
        self.unknown, self.user_bias, self.sums = unknown, user_bias, ratings.sums
        # allocated once: fresh memory would take a part of the sums' time
        self._user_sums: Side[Tensor] | None = None

    def user_sums(self, factors: Factors) -> Side[Tensor]:
        """Return memory for the gradients of this rank's users, (U, K) and (U,), set to zeros."""
        if self._user_sums is None:
            self._user_sums = Side(torch.empty_like(factors.W), torch.empty_like(factors.b[0]))
        for each in self._user_sums:
            each.zero_()
        return self._user_sums


class ShardedTerm:
    """Collect the error term of one evaluation, while the blocks of items go by.

    Args:
        cost: what is computed.
        factors: W and b of this rank's users, and X and c of its own items.
        with_cost: whether `value` and `item_squares` are needed.

    Attributes:
        gram_of_users: as in `cofi_dist.cost.term.ErrorTerm`; to be summed over the ranks.
    """

    def __init__(self, cost: ShardedCost, factors: Factors, *, with_cost: bool) -> None:
        self._cost, self._factors, self._with_cost = cost, factors, with_cost
        self._users, self._items = sides_of(factors)
        self._user_sums = cost.user_sums(factors)
        X, num_items, unknown = factors.X, cost.num_items, cost.unknown
        self._X2, self._c2 = (ItemSquares(num_items, columns, X) for columns in (X.shape[1], 1))
        self._halves: list[Tensor] = []
        self.gram_of_users: Tensor | None = None
        if unknown is not None:
            self._gram_X = ItemGram(num_items, X.shape[1], X)
            self._gram_W = unknown.gram_of_users(factors)
            # rounded before the blocks are added, as it is on any number of ranks
            self.gram_of_users = cost.sums.sum_subtrees(unknown.scaled(self._gram_W, factors))

    def item_gradients(self, number: int, items: Side[Tensor]) -> Side[Tensor]:
        """Return the sums for the gradients of a block's rows, (T, padded rows, K) and (T, padded rows)."""
        sums, half_BV = self._cost.ratings.blocks[number].item_gradients(items, self._users)
        if self._with_cost:
            self._halves.append(half_BV.clone())
        return sums

    def add_block(self, number: int, items: Side[Tensor]) -> None:
        """Add what a block contributes to the gradients of the users, and to sums over the items."""
        block, scale_X = self._cost.ratings.blocks[number], self._cost.scale_X
        assert block.by_user is not None
        block.by_user.add(self._users, items, self._user_sums)
        if self._cost.unknown is not None:
            self._gram_X.add(items)
        if self._with_cost:
            scale = None if scale_X is None else scale_X[block.items.start : block.items.stop]
            self._X2.add(items.features, scale)
            if self._factors.c is not None:
                self._c2.add(items.bias[:, None])

    def complete(self, own_sums: Side[Tensor]) -> None:
        """Add the share of the unknown pairs to all gradients, once all blocks have gone by.

        Args:
            own_sums: gradients of this rank's own items, summed over the ranks, as `gram_of_users` is.
        """
        unknown = self._cost.unknown
        if unknown is not None:
            assert self.gram_of_users is not None
            of_items = unknown.scaled(self._gram_X.total, self._factors)
            add_gram_product(self._user_sums, self._users, of_items, constant=1)
            add_gram_product(own_sums, self._items, self.gram_of_users[0], constant=1)

    @property
    def value(self) -> Tensor:
        """Return half the squared error per subtree of this rank's users, (T,) float64."""
        half_B = ordered_row_sums(torch.cat(self._halves, 1))
        unknown = self._cost.unknown
        if unknown is not None:
            half_B = half_B + unknown.value(self._gram_W, self._gram_X.total)
        return self._cost.sums.sum_subtrees(half_B)

    @property
    def item_squares(self) -> tuple[Tensor, Tensor | None]:
        """Return what `Regulariser.item_squares` returns for all items."""
        X2, c2 = self._X2.total, self._c2.total
        return X2, None if self._factors.c is None else c2

    @property
    def user_gradients(self) -> tuple[Tensor, Tensor]:
        """Return dW, (U, K), and db, (1, U)."""
        dW, db = self._user_sums
        return dW, (db if self._cost.user_bias else db.zero_())[None]
