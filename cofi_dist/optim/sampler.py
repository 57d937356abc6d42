"""Draw factors from the density that J defines, and average what the draws predict.

The density of X, W, b and c is proportional to exp(-J / noise^2): Bayesian matrix factorisation, with the
regulariser as the prior (Salakhutdinov and Mnih, 2008). If one side is fixed, the rows of the other one are
independent and normal, and their means are what exact ALS solves for. So a sweep is one of exact ALS, but
each row is drawn around its solution: Gibbs sampling.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cofi_dist.cost.objective import Objective
from cofi_dist.cost.sparse import half_squared_error
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RidgeTerm
from cofi_dist.optim.als import sweep
from cofi_dist.optim.base import Pending, Step
from cofi_dist.optim.mean_product import add_draw
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.sharding.ranges import UserRange

# Streams of the counter before these draw the start.
FIRST_STREAM = 3


class Sampler:
    """Average draws, a sweep per step.

    Args:
        factors: become the mean of the draws; before the first one that counts, the last draw.
        halves: solve exactly for one side each, and move the draw, which are factors of its own.
        users: those of this rank.
        noise: standard deviation of a rating around its prediction.
        seed: of the draws, which do not depend on the number of ranks.
        skipped: the first draws, which do not count.
        adds_shared_terms: as for `Als`.

    Attributes:
        objective: J.
        draws: how many the factors are the mean of.
    """

    is_converged = False

    def __init__(
        self,
        factors: Factors,
        halves: WholeItems,
        users: UserRange,
        *,
        noise: float,
        seed: int,
        skipped: int,
        adds_shared_terms: bool,
    ) -> None:
        self._factors, self._halves, self._users = factors, halves, users
        self._noise, self._seed, self._skipped = noise, seed, skipped
        self._adds_shared_terms = adds_shared_terms
        self.objective: Objective = halves.objective
        self.draws = self._epoch = 0

    def prepare_step(self, *, with_cost: bool = False) -> Step:
        """Return a sweep from the last draw, and compute the cost of the mean if asked for."""
        halves = self._halves
        half = half_squared_error(halves.ratings, self._factors, halves.unknown) if with_cost else None
        return Step(half, self._moves())

    def row_tensors(self, name: str) -> dict[str, Tensor]:
        """Return the factor as it was drawn last."""
        return {"draw": self._halves.factors.by_name[name]}

    @property
    def scalars(self) -> dict[str, Any]:
        """Return how many draws the factors are the mean of."""
        return {"draws": self.draws}

    def restore_scalars(self, epoch: int, scalars: dict[str, Any] | None) -> None:
        """Restore what `scalars` returned."""
        assert scalars is not None, "a checkpoint of another optimiser was refused before"
        self._epoch, self.draws = epoch, scalars["draws"]

    def _moves(self) -> Iterator[Pending]:
        """Draw both sides, and let the draw count if it is late enough."""
        draw, halves = self._halves.factors, self._halves
        all_items = UserRange(0, len(draw.X))
        drawing = replace(
            halves,
            user_ridge=self._with_noise(halves.user_ridge, self._users, 0),
            item_ridge=self._with_noise(halves.item_ridge, all_items, 1),
        )
        yield from sweep(drawing, adds_shared_terms=self._adds_shared_terms)
        self._epoch += 1
        if self._epoch > self._skipped:
            self.draws += 1
            yield from add_draw(self._factors, draw, self.draws, self.objective.regulariser)
            return
        self.draws = 0
        for name, factor in self._factors.by_name.items():
            factor.copy_(draw.by_name[name])

    def _with_noise(self, ridge: RidgeTerm, rows: UserRange, side: int) -> RidgeTerm:
        """Return a ridge term with the noise of this epoch; a row without ratings has none."""
        stream = FIRST_STREAM + 2 * self._epoch + side
        noise = normal_rows(self._seed, stream, rows, self._factors.X.shape[1] + 1).to(ridge.weight)
        return replace(ridge, noise=noise.mul_(self._noise * (ridge.counts > 0)[:, None]))


def normal_rows(seed: int, stream: int, rows: UserRange, columns: int) -> Tensor:
    """Return rows of a matrix of standard normal numbers, (rows, columns) float64; no others are drawn.

    Args:
        seed: of all streams.
        stream: the number of the matrix.
        rows: of the matrix.
        columns: its number of columns.
    """
    from cofi_dist.kernels.cpu import philox  # it imports the compiled loops

    uniform = torch.empty(len(rows) * columns, dtype=torch.float64)
    philox.uniform(seed, stream, rows.start * columns, 1.0, uniform.numpy())
    return torch.erfinv(uniform).mul_(math.sqrt(2)).view(-1, columns)
