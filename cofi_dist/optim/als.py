"""Alternating least squares on J: users for fixed items, items for fixed users, and so on; accelerated.

For fixed X and c, J falls apart into a least-squares problem for each user's w_j and b_j; for fixed W and
b, into one for each item's x_i and c_i. A half-sweep takes a few steps of conjugate gradients on all
of them from where they are, each of which lowers J. Before a sweep, factors go on along the last
sweep's way (Nesterov's momentum); where the sweep then ends higher than the last one, it is done again
from where that ended.

K features, R rows of a side.
"""

import math
from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import half_squared_error
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RatingKernels, RidgeTerm, accumulation_dtype
from cofi_dist.kernels.block_sums import ordered_sum, sums_of
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.optim.base import PendingSum
from cofi_dist.optim.cholesky import Solution, Solved, exact


class Als:
    """Moves the factors in place, a sweep a step; float32 or float64, any device.

    Nothing here knows of ranks: what is to be summed over them is yielded. Users' problems are whole on
    their rank. Items' are sums over all users: each step of theirs yields one tensor of X's shape.

    Args:
        cost: this rank's ratings.
        factors: what to move.
        regulariser: of J.
        item_counts: training ratings of each item over all ranks, (num_items,).
        steps: of conjugate gradients in a half-sweep; 0 to solve each half exactly.
        tolerance: relative decrease of J; 0 for none.
        alone: this rank has all users, so nothing needs to be summed.
        leads: of all ranks, this one says what all of them know.

    Attributes:
        J: after the last sweep; infinite before the first.
        momentum: sweeps since the last restart, which had none.
    """

    def __init__(
        self,
        cost: RatingMatrix,
        factors: Factors,
        regulariser: Regulariser,
        *,
        item_counts: Tensor,
        steps: int,
        tolerance: float,
        alone: bool,
        leads: bool = True,
    ) -> None:
        self._cost, self._factors, self._regulariser = cost, factors, regulariser
        self._alone, self._leads, self._steps, self._tolerance = alone, leads, steps, tolerance
        lambda_, lambda_b = regulariser.lambda_, regulariser.lambda_b
        of_users, of_items = (
            torch.full_like(factor[:, 0], lambda_) if scale is None else lambda_ * scale[:, 0]
            for factor, scale in ((factors.W, regulariser.scale_W), (factors.X, regulariser.scale_X))
        )
        ratings = max(1.0, float(item_counts.sum(dtype=accumulation_dtype(factors.X))))
        self._of_users = RidgeTerm(of_users, lambda_b, True, cost.by_user.counts, ratings)
        self._of_items = RidgeTerm(
            of_items, lambda_b, factors.c is not None, item_counts.to(factors.X), ratings
        )
        self._previous = {name: factor.clone() for name, factor in factors.by_name.items()}
        self.J, self.momentum = math.inf, 0
        self._change: float | None = None

    def error(self, *, with_cost: bool) -> Tensor | None:
        """Half the squared error over this rank's ratings, where it is asked for."""
        return half_squared_error(self._cost, self._factors) if with_cost else None

    def step(self) -> Iterator[PendingSum]:
        """One sweep; yields what is to be summed over the ranks."""
        self._go_on()
        J = yield from self._sweep()
        if self.momentum and not J <= self.J:
            for name, factor in self._factors.by_name.items():
                factor.copy_(self._previous[name])
            self.momentum = 0
            J = yield from self._sweep()
        change = abs(self.J - J) / abs(self.J) if 0 < abs(self.J) < math.inf else math.inf
        # a sweep may fall by little because its momentum nearly led astray: one without has to agree
        self._change = None if self.momentum else change
        self.J = J if math.isfinite(J) else math.inf
        self.momentum = 0 if change < self._tolerance else self.momentum + 1

    @property
    def is_converged(self) -> bool:
        """Whether the last sweep had no momentum, and changed J by less than the tolerance."""
        return self._change is not None and self._change < self._tolerance

    def row_tensors(self, letter: str) -> dict[str, Tensor]:
        """State of a factor, shaped as it is."""
        return {"previous": self._previous[letter]}

    @property
    def scalars(self) -> dict[str, Any]:
        """State that is no tensor."""
        change = self._change if self._change is not None and math.isfinite(self._change) else None
        J = self.J if math.isfinite(self.J) else None
        return {"J": J, "momentum": self.momentum, "change": change}

    def restore_scalars(self, epoch: int, numbers: dict[str, Any] | None) -> None:
        """Go on as after so many sweeps; the rows are the caller's to restore."""
        assert numbers is not None, "those of Adam were refused"
        self.J = math.inf if numbers["J"] is None else numbers["J"]
        self.momentum, self._change = numbers["momentum"], numbers["change"]

    def _go_on(self) -> None:
        """Along the last sweep's way; `previous` then is where it ended."""
        far = self.momentum / (self.momentum + 3)
        for name, factor in self._factors.by_name.items():
            previous = self._previous[name]
            beyond = torch.lerp(previous, factor, 1 + far) if far else None
            previous.copy_(factor)
            if beyond is not None:
                factor.copy_(beyond)

    def _sweep(self) -> Generator[PendingSum, None, float]:
        """Users, then items; returns J."""
        factors, cost, steps = self._factors, self._cost, self._steps
        X, W, b, c = factors.X, factors.W, factors.b[0], factors.item_bias_or_zeros()
        squares = cost.sums.column_squares_over_items(X, self._of_items.counts)[None]
        done = yield from _solve(cost.by_user, W, b, X, c, self._of_users, squares, steps, whole=True)
        W2, b2 = self._regulariser.user_squares(factors, cost.sums)
        sums = torch.stack([W2, b2, torch.zeros_like(W2)], 1)
        sums[0, 2] = done.singular
        yield PendingSum(sums)
        W2, b2, singular = sums[0]
        _require_unique(float(singular), "users'")
        penalty = self._regulariser.value((W2, b2), factors, cost.sums)
        squares = cost.sums.column_squares_over_users(W, self._of_users.counts)
        done = yield from _solve(cost.by_item, X, c, W, b, self._of_items, squares, steps, whole=self._alone)
        # every rank knows the rest, but for the last bits: J, on which all decide, is that of one of them
        sums = torch.zeros_like(sums)
        sums[:, 0] = cost.sums.sum_branches(done.half)
        if self._leads:
            sums[0, 1], sums[0, 2] = penalty - done.gain, done.singular
        yield PendingSum(sums)
        half, rest, singular = sums[0]
        _require_unique(float(singular), "items'")
        return float(half + rest)


def _require_unique(singular: float, whose: str) -> None:
    if singular:
        raise RunError(
            f"{singular:.0f} of the {whose} least squares have no one solution: fewer ratings than unknowns,"
            " or factors that hardly differ; set train.lambda_ higher, or leave out train.solver=exact",
            shared=True,
        )


def _solve(
    rows: RatingKernels,
    Z: Tensor,
    z: Tensor,
    P: Tensor,
    offset: Tensor,
    least: RidgeTerm,
    squares: Tensor,
    steps: int,
    *,
    whole: bool,
) -> Solved:
    """The rows of one side, in the way that was asked for.

    `squares` are those of P's columns, each row weighted by its ratings, of each branch, (T, K); `whole` says
    that every row's ratings are on this rank.
    """
    if not steps:
        return (yield from exact(rows, Z, z, P, offset, least, whole=whole))
    solved = rows.solve_rows(Z, z, P, offset, least, squares[0] / least.ratings, steps) if whole else None
    if solved is not None:
        half, decrease = ordered_sum(solved.half_squared_errors), ordered_sum(solved.decreases)
        return Solution(half[None], decrease, half.new_zeros(()))
    return (yield from conjugate_gradients(rows, Z, z, P, offset, least, squares, steps, whole))


def conjugate_gradients(
    rows: RatingKernels,
    Z: Tensor,
    z: Tensor,
    P: Tensor,
    offset: Tensor,
    least: RidgeTerm,
    squares: Tensor,
    steps: int,
    whole: bool,
) -> Solved:
    """`rowkernels.solve_row` on whole matrices."""
    from cofi_dist.optim.conjugate_gradient import descend

    sums, sums_b, half_BR = rows.gradients(Z, z, P, offset)
    if not whole:
        yield PendingSum(sums, sums_b, squares)
    descent = descend(Z, z, sums[0], sums_b[0], squares[0] / least.ratings, least)
    for _ in range(steps):
        products = rows.products(descent.direction, descent.direction_b, P)
        if not whole:
            yield PendingSum(*products)
        descent.step(*(product[0] for product in products))
    return Solution(sums_of(half_BR), descent.gain, half_BR.new_zeros(()))
