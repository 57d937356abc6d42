"""Minimise J by full-batch Adam where each rank owns some of the items."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sharded import ShardedCost, ShardedTerm
from cofi_dist.cost.sides import sides_of
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side
from cofi_dist.optim.adam_moves import AdamMoves
from cofi_dist.optim.base import Pending, PendingSum, Step
from cofi_dist.optim.item_pass import ItemPass


class ShardedAdam:
    """Take the steps of `cofi_dist.optim.adam.Adam`, with all rows and their state on their owners only.

    One pass over the items forms all gradients, and the cost if it is asked for: X is gathered once, and its
    gradient is scattered once. That sends as much as the sum of the gradients does where X is replicated.

    Args:
        cost: computes the error term on this rank's ratings.
        factors: this rank's rows of all factors; moved in place.
        regulariser: of these rows.
        items: lets the items go by.
        lr, fused: as for `Adam`.

    Attributes:
        objective: J.
        moves: the state of each factor, and how it moves.
    """

    is_converged = False  # as for `Adam`

    def __init__(
        self,
        cost: ShardedCost,
        factors: Factors,
        regulariser: Regulariser,
        items: ItemPass,
        *,
        lr: float,
        fused: bool,
    ) -> None:
        self._cost, self._factors, self._pass = cost, factors, items
        self.objective = Objective(regulariser, cost.sums)
        self.moves = AdamMoves(factors, regulariser, lr=lr, fused=fused)
        # the gradients of the own rows of X and c
        self._sums: Side[Tensor] | None = None

    def prepare_step(self, *, with_cost: bool = False) -> Step:
        """Return a step whose gradients are formed by its evaluation if the cost is asked for."""
        term = ShardedTerm(self._cost, self._factors, self.objective, with_cost=with_cost)
        if not with_cost:
            return Step(None, chain(self._form_gradients(term), self._move_all(term)))
        step = Step(None, self._move_all(term))
        step.evaluation = self._evaluate(term, step)
        return step

    def row_tensors(self, name: str) -> dict[str, Tensor]:
        """Return the moments of a factor."""
        return self.moves.row_tensors(name)

    @property
    def scalars(self) -> None:
        """Return nothing: all that is not a tensor is the number of steps, which is the run's own."""
        return

    def restore_scalars(self, epoch: int, scalars: dict[str, Any] | None) -> None:
        """Restore the number of steps taken."""
        self.moves.restore_scalars(epoch)

    def _evaluate(self, term: ShardedTerm, step: Step) -> Iterator[Pending]:
        yield from self._form_gradients(term)
        step.half_squared_error, step.item_squares = term.value, term.item_squares

    def _form_gradients(self, term: ShardedTerm) -> Iterator[Pending]:
        _, own = sides_of(self._factors)
        if self._sums is None:
            self._sums = Side(*map(torch.empty_like, own))
        if term.to_reduce:
            yield PendingSum(*term.to_reduce)
        yield from self._pass.over(own, term.add_block, sum_up=term.item_gradients, into=self._sums)
        term.complete(self._sums)

    def _move_all(self, term: ShardedTerm) -> Iterator[Pending]:
        assert self._sums is not None, "the gradients have been formed"
        dW, db = term.user_gradients
        self.moves.move("W", dW)
        self.moves.move("b", db)
        self.moves.move("X", self._sums.features)
        if self._factors.c is not None:
            self.moves.move("c", self._sums.bias[None])
        yield from ()  # all sums are complete
