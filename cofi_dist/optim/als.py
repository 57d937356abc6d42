"""Minimise J by alternating least squares: solve for the users, then for the items, and accelerate.

For fixed X and c, J falls apart into one least-squares problem per user, for w_j and b_j. For fixed W and b,
it falls apart into one per item, for x_i and c_i. A half-sweep takes a few steps of conjugate gradients on
all problems of one side, starting from the current factors; each step lowers J. Before each sweep, all
factors are extrapolated along the previous sweep's change (Nesterov momentum). If the sweep then ends with a
higher J than the previous one did, it is undone and taken again without momentum.

T subtrees of this rank's users (`cofi_dist.sharding.reduction_tree`).
"""

import math
from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import Tensor

from cofi_dist.errors import RunError
from cofi_dist.optim.base import Pending, PendingSum, Step
from cofi_dist.optim.half_sweep import HalfSweeps


class Als:
    """Minimise J by alternating least squares, a sweep per step; float32 or float64, on any device.

    Args:
        halves: solve for one side after the other, and move the factors in place.
        tolerance: relative change of J per sweep below which the optimiser has converged; 0 for never.
        adds_shared_terms: whether this rank contributes the terms of J that every rank can compute; True on
            exactly one rank.

    Attributes:
        objective: J.
        J: its value after the last sweep; infinite before the first.
        momentum: sweeps since the last one that was taken without momentum.
    """

    def __init__(self, halves: HalfSweeps, *, tolerance: float, adds_shared_terms: bool = True) -> None:
        self._halves, self._tolerance, self._adds_shared_terms = halves, tolerance, adds_shared_terms
        self.objective, self._by_name = halves.objective, halves.factors.by_name
        # The factors at the end of the sweep before the last; during a sweep, at the end of the last one.
        self._previous = {name: factor.clone() for name, factor in self._by_name.items()}
        self.J, self.momentum = math.inf, 0
        self._change: float | None = None

    def prepare_step(self, *, with_cost: bool = False) -> Step:
        """Return a sweep from where the factors are now, and compute the cost if asked for."""
        return self._halves.prepare(self._accelerated_sweep(), with_cost=with_cost)

    @property
    def is_converged(self) -> bool:
        """Return whether the last sweep, taken without momentum, changed J by less than the tolerance."""
        return self._change is not None and self._change < self._tolerance

    def row_tensors(self, name: str) -> dict[str, Tensor]:
        """Return the factor as it was at the end of the sweep before the last."""
        return {"previous": self._previous[name]}

    @property
    def scalars(self) -> dict[str, Any]:
        """Return J, the momentum and the last change; None for what is infinite or unknown."""
        change = self._change if self._change is not None and math.isfinite(self._change) else None
        J = self.J if math.isfinite(self.J) else None
        return {"J": J, "momentum": self.momentum, "change": change}

    def restore_scalars(self, epoch: int, scalars: dict[str, Any] | None) -> None:
        """Restore what `scalars` returned."""
        assert scalars is not None, "a checkpoint of Adam was refused before"
        self.J = math.inf if scalars["J"] is None else scalars["J"]
        self.momentum, self._change = scalars["momentum"], scalars["change"]

    def _accelerated_sweep(self) -> Iterator[Pending]:
        """Extrapolate and sweep; if J rises, undo both and sweep without momentum."""
        self._extrapolate()
        J = yield from sweep(self._halves, adds_shared_terms=self._adds_shared_terms)
        if self.momentum and not J <= self.J:
            for name, factor in self._by_name.items():
                factor.copy_(self._previous[name])
            self.momentum = 0
            J = yield from sweep(self._halves, adds_shared_terms=self._adds_shared_terms)
        change = abs(self.J - J) / abs(self.J) if 0 < abs(self.J) < math.inf else math.inf
        # With momentum, J may change by little because the extrapolation nearly went too far. Only a sweep
        # without momentum shows convergence, and a small change leads to one.
        self._change = None if self.momentum else change
        self.J = J if math.isfinite(J) else math.inf
        self.momentum = 0 if change < self._tolerance else self.momentum + 1

    def _extrapolate(self) -> None:
        """Move all factors further along the last sweep's change; `_previous` becomes where it ended."""
        weight = self.momentum / (self.momentum + 3)
        for name, factor in self._by_name.items():
            previous = self._previous[name]
            extrapolated = torch.lerp(previous, factor, 1 + weight) if weight else None
            previous.copy_(factor)
            if extrapolated is not None:
                factor.copy_(extrapolated)


def sweep(halves: HalfSweeps, *, adds_shared_terms: bool) -> Generator[Pending, None, float]:
    """Solve for the users, then for the items, and return J.

    Args:
        halves: solve for one side each.
        adds_shared_terms: as for `Als`.

    Raises:
        RunError: some rows have no unique solution; the same on all ranks.
    """
    objective, factors, sums = halves.objective, halves.factors, halves.sums
    singular, of_items = yield from halves.solve_users()
    W2, b2 = objective.user_squares(factors)
    of_unknown, scaled_gram_W = W2.new_zeros(()), None
    numbers = W2, b2, _in_first_subtree(singular, like=W2)
    if halves.unknown is not None and of_items.gram is not None:
        gram_W = sums.sum_subtrees(halves.unknown.gram_of_users(factors))
        W2, b2, singular = yield from _sum_numbers(*numbers, beside=gram_W)
        (of_unknown,) = halves.unknown.value(gram_W[:1], of_items.gram)
        scaled_gram_W = halves.unknown.scaled(gram_W[0], factors)
    else:
        W2, b2, singular = yield from _sum_numbers(*numbers)
    _require_unique(float(singular), "users'")

    # what every rank knows of J before the items' half-sweep
    penalty = objective.penalty((W2, b2), of_items.squares) + of_unknown
    items = yield from halves.solve_items(scaled_gram_W)
    # J is what it was before this half-sweep, less its decrease. That saves a pass over the ratings.
    half = sums.sum_subtrees(items.half_squared_error)
    # Every rank knows the penalty and the decrease, but perhaps not to the last bit. A single rank
    # contributes them, so that all ranks decide from the same J.
    shared, singular = torch.zeros_like(half), torch.zeros_like(half)
    if adds_shared_terms:
        shared = _in_first_subtree(penalty - items.decrease, like=half)
        singular = _in_first_subtree(items.singular, like=half)
    half, shared, singular = yield from _sum_numbers(half, shared, singular)
    _require_unique(float(singular), "items'")
    return float(half + shared)


def _sum_numbers(
    *numbers: Tensor, beside: Tensor | None = None
) -> Generator[PendingSum, None, tuple[Tensor, ...]]:
    """Sum several numbers over the ranks, and return them, 0-dim each.

    They travel in one tensor, because what a small message costs is its latency.

    Args:
        numbers: each per subtree, (T,), all of one dtype.
        beside: a tensor per subtree, (T, ...), that is summed too, in place.
    """
    packed = torch.stack(numbers, 1)
    yield PendingSum(packed) if beside is None else PendingSum(packed, beside)
    return packed[0].unbind()


def _in_first_subtree(number: Tensor, *, like: Tensor) -> Tensor:
    """Return a number of the whole rank as one per subtree: itself for the first, zeros for the others."""
    per_subtree = torch.zeros_like(like)
    per_subtree[0] = number
    return per_subtree


def _require_unique(singular: float, whose: str) -> None:
    """Raise RunError, shared, if some least-squares problems have no unique solution."""
    if singular:
        raise RunError(
            f"{singular:.0f} of the {whose} least squares have no unique solution: fewer ratings than"
            " unknowns, or factors that hardly differ; set train.lambda_ higher, or train.dtype=float64, or"
            " leave out train.solver=exact",
            shared=True,
        )
