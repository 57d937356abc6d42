"""Define the contract between optimisers and the trainer.

An optimiser never sees a rank. Whatever it needs summed over all ranks, it yields as a `PendingSum`, and it
goes on once the caller has summed it. T is the number of subtrees of this rank's users
(`cofi_dist.sharding.reduction_tree`).
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.term import do_nothing


class PendingSum:
    """Hold tensors of this rank that must be summed over all ranks before a step can go on.

    Args:
        tensors: each of T subtrees, (T, ...). The sum over the subtrees of all ranks replaces the first one.
        overlap: work that the step can do while the sum is under way. It touches none of the tensors, and
            must be called exactly once.
    """

    def __init__(self, *tensors: Tensor, overlap: Callable[[], None] = do_nothing) -> None:
        self.tensors, self.overlap = tensors, overlap


@dataclass(frozen=True)
class Step:
    """Hold a step that is prepared, but not taken yet; one that is dropped changes nothing.

    Attributes:
        half_squared_error: half the squared error over this rank's ratings before the step, per subtree,
            (T,); None if it was not asked for.
        moves: moves the factors while it is iterated over, and yields what must be summed in between.
    """

    half_squared_error: Tensor | None
    moves: Iterator[PendingSum]


def run_step(step: Step, all_reduce_: Callable[..., None]) -> None:
    """Take a prepared step.

    Args:
        step: of an optimiser.
        all_reduce_: sums tensors over the ranks, in place: a reducer's method.
    """
    for pending in step.moves:
        all_reduce_(*pending.tensors, overlap=pending.overlap)


class Optimizer(Protocol):
    """Minimise an objective by moving the factors in place, step by step.

    Attributes:
        objective: what is minimised.
        is_converged: whether more steps would change J by less than the tolerance.
    """

    objective: Objective

    @property
    def is_converged(self) -> bool: ...

    def prepare_step(self, *, with_cost: bool = False) -> Step:
        """Return a step from where the factors are now; run it before anything else moves them.

        Args:
            with_cost: whether the step's `half_squared_error` is needed.
        """
        ...

    def row_tensors(self, name: str) -> dict[str, Tensor]:
        """Return the optimiser's state of one factor, as tensors shaped like it."""
        ...

    @property
    def scalars(self) -> dict[str, Any] | None:
        """Return the state that is not a tensor; None if there is none."""
        ...

    def restore_scalars(self, epoch: int, scalars: dict[str, Any] | None) -> None:
        """Restore the state after `epoch` steps, except for the tensors, which the caller copies."""
        ...


@dataclass(frozen=True)
class Solution:
    """Report what solving for the rows of one side did.

    Attributes:
        half_squared_error: half the squared error over this rank's ratings before solving, per block of
            users, (B,) float64.
        decrease: by how much solving lowered J, 0-dim float64.
        singular: how many rows have no unique solution and were left alone, 0-dim.
    """

    half_squared_error: Tensor
    decrease: Tensor
    singular: Tensor


# Solves for the rows of one side: yields what must be summed over the ranks, and returns a solution.
Solved = Generator[PendingSum, None, Solution]
