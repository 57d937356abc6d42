"""Define the contract between optimisers and the trainer.

An optimiser never sees a rank. Whatever it needs of the other ranks, it yields, such as a `PendingSum`, and
it goes on once the caller has had it done. T is the number of subtrees of this rank's users
(`cofi_dist.sharding.reduction_tree`).
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol, TypeVar

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


# A pair of tensors: (slice, ...) of this rank, and (world_size * slice, ...) of all ranks.
Gather = tuple[Tensor, Tensor]
# A pair of tensors: (T, world_size * slice, ...) to be summed, and (slice, ...), which receives this rank's.
Scatter = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class PendingExchange:
    """Hold rows of a block of items that must travel between their owners and all ranks.

    Attributes:
        gathers: each rank's slice of a block, and where the slices of all ranks go, in rank order.
        scatters: sums over this rank's users for the whole block, and where the sum over the subtrees of all
            ranks goes, for the slice that this rank owns.
        overlap: as for `PendingSum`; it touches none of the tensors.
    """

    gathers: Sequence[Gather] = ()
    scatters: Sequence[Scatter] = ()
    overlap: Callable[[], None] = do_nothing


@dataclass(frozen=True)
class PendingFetch:
    """Hold rows that this rank sends to each other rank, and where those go that it is sent.

    Attributes:
        sent: the rows for rank 0, then those for rank 1, and so on, (rows, ...).
        sent_counts: how many for each rank.
        received: where the rows from rank 0 go, then those from rank 1, and so on, (rows, ...).
        received_counts: how many from each rank.
        overlap: as for `PendingSum`; it touches none of the tensors.
    """

    sent: Tensor
    sent_counts: Sequence[int]
    received: Tensor
    received_counts: Sequence[int]
    overlap: Callable[[], None] = do_nothing


Result = TypeVar("Result")
Pending = PendingSum | PendingExchange | PendingFetch


class Ranks(Protocol):
    """Do for an optimiser what it asks of the ranks: a `cofi_dist.distributed.comm.Reducer`."""

    def all_reduce_(self, *partials: Tensor, overlap: Callable[[], None] | None = None) -> None: ...

    def exchange(
        self, gathers: Sequence[Gather], scatters: Sequence[Scatter], overlap: Callable[[], None]
    ) -> None: ...

    def fetch(
        self,
        sent: Tensor,
        sent_counts: Sequence[int],
        received: Tensor,
        received_counts: Sequence[int],
        overlap: Callable[[], None],
    ) -> None: ...


@dataclass
class Step:
    """Hold a step that is prepared, but not taken yet; one that is dropped changes nothing.

    Attributes:
        half_squared_error: half the squared error over this rank's ratings before the step, per subtree,
            (T,); None if it was not asked for.
        moves: moves the factors while it is iterated over, and yields what the ranks have to do in between.
        evaluation: comes before the moves, and yields likewise, but moves nothing. Once it is exhausted,
            `half_squared_error` and `item_squares` are known.
        item_squares: what `Objective.item_squares` returns; None if X is whole on every rank, who can compute
            it then, or if the cost was not asked for.
    """

    half_squared_error: Tensor | None
    moves: Iterator[Pending]
    evaluation: Iterator[Pending] = field(default_factory=lambda: iter(()))
    item_squares: tuple[Tensor, Tensor | None] | None = None


def run_step(step: Step, ranks: Ranks) -> None:
    """Take a prepared step.

    Args:
        step: of an optimiser.
        ranks: do what the step asks of them: a reducer.
    """
    run_all(chain(step.evaluation, step.moves), ranks)


def run_all(pending: Iterator[Pending], ranks: Ranks) -> None:
    """Let the ranks do all that is yielded, one after the other."""
    for each in pending:
        match each:
            case PendingSum():
                ranks.all_reduce_(*each.tensors, overlap=each.overlap)
            case PendingExchange():
                ranks.exchange(each.gathers, each.scatters, each.overlap)
            case PendingFetch():
                ranks.fetch(each.sent, each.sent_counts, each.received, each.received_counts, each.overlap)


def run_for_result(pending: Generator[Pending, None, Result], ranks: Ranks) -> Result:
    """Let the ranks do all that is yielded, and return what is returned at the end."""
    results: list[Result] = []

    def all_of() -> Iterator[Pending]:
        results.append((yield from pending))

    run_all(all_of(), ranks)
    return results[0]


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
