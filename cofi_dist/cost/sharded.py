"""Compute the error term where each rank owns some of the items, while their rows go by block by block.

U users of this rank, M items, K features; T subtrees and B blocks of the users
(`cofi_dist.sharding.reduction_tree`).
"""

import torch
from torch import Tensor

from cofi_dist.cost.item_totals import ItemTotals, TotalsInOrder, TotalsOfShards
from cofi_dist.cost.objective import Objective
from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.unknown import UnknownPairs
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.kernels.block_sums import ordered_row_sums
from cofi_dist.kernels.gram import add_gram_product
from cofi_dist.kernels.item_blocks import ItemBlocks


class ShardedCost:
    """Form the sums that `cofi_dist.cost.sparse.SparseCost` forms; with its bits if their order is fixed.

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
        objective: J.
        with_cost: whether `value` and `item_squares` are needed.

    Attributes:
        to_reduce: what has to be summed over the subtrees of all ranks first, (T, ...) each; the sum replaces
            the first subtree.
    """

    def __init__(self, cost: ShardedCost, factors: Factors, objective: Objective, *, with_cost: bool) -> None:
        self._cost, self._factors, self._with_cost = cost, factors, with_cost
        self._users, self._items = sides_of(factors)
        self._user_sums = cost.user_sums(factors)
        self._over_items: ItemTotals
        if cost.sums.blocks.fixes_order:
            has_gram = cost.unknown is not None
            self._over_items = TotalsInOrder(
                cost.num_items, factors, cost.scale_X, has_gram=has_gram, with_squares=with_cost
            )
        else:
            self._over_items = TotalsOfShards(
                factors, objective, cost.sums, cost.unknown, with_squares=with_cost
            )
        self._halves: list[Tensor] = []
        self.to_reduce = self._over_items.to_reduce
        if cost.unknown is not None:
            self._gram_W = cost.unknown.gram_of_users(factors)
            # rounded before the blocks are added, as it is on any number of ranks
            self._of_users = cost.sums.sum_subtrees(cost.unknown.scaled(self._gram_W, factors))
            self.to_reduce = *self.to_reduce, self._of_users

    def item_gradients(self, number: int, items: Side[Tensor]) -> Side[Tensor]:
        """Return the sums for the gradients of a block's rows, (T, padded rows, K) and (T, padded rows)."""
        sums, half_BV = self._cost.ratings.blocks[number].item_gradients(items, self._users)
        if self._with_cost:
            self._halves.append(half_BV.clone())
        return sums

    def add_block(self, number: int, items: Side[Tensor]) -> None:
        """Add what a block contributes to the gradients of the users, and to sums over the items."""
        block = self._cost.ratings.blocks[number]
        assert block.by_user is not None
        block.by_user.add(self._users, items, self._user_sums)
        self._over_items.add(block.items, items)

    def complete(self, own_sums: Side[Tensor]) -> None:
        """Add the share of the unknown pairs to all gradients, once all blocks have gone by.

        Args:
            own_sums: gradients of this rank's own items, summed over the ranks.
        """
        unknown, gram_X = self._cost.unknown, self._over_items.gram
        if unknown is not None and gram_X is not None:
            of_items = unknown.scaled(gram_X, self._factors)
            fixes_order = self._cost.sums.blocks.fixes_order
            for sums, rows, gram in (
                (self._user_sums, self._users, of_items),
                (own_sums, self._items, self._of_users[0]),
            ):
                add_gram_product(sums, rows, gram, constant=1, fixes_order=fixes_order)

    @property
    def value(self) -> Tensor:
        """Return half the squared error per subtree of this rank's users, (T,) float64."""
        half_B = ordered_row_sums(torch.cat(self._halves, 1))
        unknown, gram_X = self._cost.unknown, self._over_items.gram
        if unknown is not None and gram_X is not None:
            half_B = half_B + unknown.value(self._gram_W, gram_X)
        return self._cost.sums.sum_subtrees(half_B)

    @property
    def item_squares(self) -> tuple[Tensor, Tensor | None]:
        """Return what `Regulariser.item_squares` returns for all items."""
        return self._over_items.squares

    @property
    def user_gradients(self) -> tuple[Tensor, Tensor]:
        """Return dW, (U, K), and db, (1, U)."""
        dW, db = self._user_sums
        return dW, (db if self._cost.user_bias else db.zero_())[None]
