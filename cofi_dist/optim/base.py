"""What a step of an optimiser needs from the other ranks."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from torch import Tensor


def _nothing() -> None:
    pass


class PendingSum:
    """Tensors of this rank that a step needs the sums of before it goes on.

    Args:
        tensors: of T branches each, (T, ...); the first branch is to become the sum over all ranks' branches.
        overlap: what the step can do while they are summed; it touches none of them, and is to be called
            once.
    """

    def __init__(self, *tensors: Tensor, overlap: Callable[[], None] = _nothing) -> None:
        self.tensors, self.overlap = tensors, overlap


def run_step(step: Iterable[PendingSum], sum_: Callable[..., None]) -> None:
    """Take a step.

    Args:
        step: of an optimiser.
        sum_: of a comm, or of what sums in its place.
    """
    for partial in step:
        sum_(*partial.tensors, overlap=partial.overlap)


class Optimizer(Protocol):
    """What moves the factors.

    Attributes:
        is_converged: more steps would change J by less than was asked for.
    """

    @property
    def is_converged(self) -> bool: ...

    def error(self, *, with_cost: bool) -> Tensor | None:
        """Half the squared error over this rank's ratings, where it is asked for. Before every step."""
        ...

    def step(self) -> Iterator[PendingSum]:
        """One step; yields what is to be summed over the ranks."""
        ...

    def row_tensors(self, letter: str) -> dict[str, Tensor]:
        """State of a factor, shaped as it is."""
        ...

    @property
    def scalars(self) -> dict[str, Any] | None:
        """State that is no tensor; None where there is none."""
        ...

    def restore_scalars(self, epoch: int, numbers: dict[str, Any] | None) -> None:
        """Go on as after so many steps; the rows are the caller's to restore."""
        ...
