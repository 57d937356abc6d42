"""What a step of an optimiser needs from the other ranks."""

from collections.abc import Callable, Iterable

from torch import Tensor


def _nothing() -> None:
    pass


class PendingSum:
    """Tensors of this rank that a step needs the sums of before it goes on.

    Args:
        tensors: of T branches each, (T, ...); the first branch is to become the sum over all ranks' branches.
        meanwhile: what the step can do while they are summed; it touches none of them, and is to be called
            once.
    """

    def __init__(self, *tensors: Tensor, meanwhile: Callable[[], None] = _nothing) -> None:
        self.tensors, self.meanwhile = tensors, meanwhile


def run_step(step: Iterable[PendingSum], sum_: Callable[..., None]) -> None:
    """Take a step.

    Args:
        step: of an optimiser.
        sum_: of a comm, or of what sums in its place.
    """
    for partial in step:
        sum_(*partial.tensors, meanwhile=partial.meanwhile)
