"""Minimise J by full-batch Adam with torch's defaults, as in the notebook."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.term import Cost, ErrorTerm
from cofi_dist.factors import Factors
from cofi_dist.kernels.cuda.graph import GraphedCallable
from cofi_dist.optim.adam_moves import AdamMoves
from cofi_dist.optim.base import PendingSum, Step


class Adam:
    """Move all factors along the gradient of J, which is the error's plus the regulariser's.

    The moments of W and b stay on the rank that owns the users.

    Args:
        cost: computes the error term on this rank's ratings.
        factors: are moved in place.
        regulariser: its gradient is added to the error's.
        lr: step size.
        fused: as for `AdamMoves`.
        record: play steps back as one CUDA graph, unless their cost is asked for. Only for a single rank,
            because the graph cannot wait for other ranks' sums.

    Attributes:
        objective: J.
        moves: the state of each factor, and how it moves.
    """

    is_converged = False  # Adam does not look at J, so it never knows.

    def __init__(
        self,
        cost: Cost,
        factors: Factors,
        regulariser: Regulariser,
        *,
        lr: float,
        fused: bool,
        record: bool = False,
    ) -> None:
        self._cost, self._factors = cost, factors
        self.objective = Objective(regulariser, cost.sums)
        self.moves = AdamMoves(factors, regulariser, lr=lr, fused=fused)
        self._recorded = GraphedCallable(self._step_alone) if record else None

    def prepare_step(self, *, with_cost: bool = False) -> Step:
        """Compute the gradients of X and c, and the cost if asked for, and return a step along them."""
        if self._recorded is not None and not with_cost:
            return Step(None, self._play_back(self._recorded))
        error = self._cost(self._factors, with_cost=with_cost)
        return Step(error.value, self._moves(error))

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

    def _moves(self, error: ErrorTerm) -> Iterator[PendingSum]:
        """Move W and b while the gradients of X and c are summed over the ranks, then X and c."""
        yield PendingSum(*error.to_reduce, overlap=lambda: self._move_users(error))
        # Their gradients are added after the sum, so that they count once, not once per rank.
        error.complete_item_gradients()
        self.moves.move("X", error.dX[0])
        if error.dc is not None:
            self.moves.move("c", error.dc[0])

    def _step_alone(self) -> None:
        """Take a step whose sums are complete on this rank."""
        for pending in self._moves(self._cost(self._factors, with_cost=False)):
            pending.overlap()

    @staticmethod
    def _play_back(recorded: GraphedCallable) -> Iterator[PendingSum]:
        recorded()
        yield from ()  # there is nothing to sum

    def _move_users(self, error: ErrorTerm) -> None:
        self.moves.move("W", error.dW)
        self.moves.move("b", error.db)
