"""Small problems with weights and unknown pairs, and slow answers to them, in float64, over all pairs."""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import NUMPY_TYPE, WeightedCsr
from cofi_dist.sharding.ranges import UserRange

ALPHA = 0.5


@dataclass(frozen=True)
class Problem:
    """Known pairs, users by items: R says which, Y their targets and C their weights, (U, M) each.

    If the values are one, they are events; their weights are at least 1.
    """

    R: NDArray[np.bool_]
    Y: NDArray[np.float64]
    C: NDArray[np.float64]
    unknown_weight: float
    values_are_one: bool
    weights_are_one: bool

    def csr(self, dtype: torch.dtype, *, by_item: bool) -> WeightedCsr:
        """The ratings of each row; equal values and weights as a number."""
        R, Y, C = (A.T if by_item else A for A in (self.R, self.Y, self.C))
        number = NUMPY_TYPE[dtype]
        return WeightedCsr(
            np.append(0, R.sum(1).cumsum()),
            np.nonzero(R)[1].astype(np.int32),
            number(1) if self.values_are_one else Y[R].astype(number),
            number(1) if self.weights_are_one else C[R].astype(number),
            number(self.unknown_weight),
        )

    def shard(self, users: UserRange) -> UserShard:
        """The ratings, or the events, of some users."""
        rows = slice(users.start, users.stop)
        user, item = (place.astype(np.int32) for place in np.nonzero(self.R[rows]))
        Y, C = self.Y[rows][user, item], self.C[rows][user, item]
        if not self.values_are_one:
            ratings = Ratings(user, item, Y, None if self.weights_are_one else C)
            return UserShard.single_block(users, self.R.shape[1], ratings)
        alpha = 0.0 if self.weights_are_one else ALPHA
        strengths = np.full(len(user), 3.0) if self.weights_are_one else (C - 1) / ALPHA
        shard = UserShard.single_block(users, self.R.shape[1], Ratings(user, item, strengths))
        return UserShard(shard.users, shard.num_items, shard.ratings, shard.blocks, alpha=alpha)

    def all_pairs(self) -> tuple[Tensor, Tensor]:
        """Target and weight of every pair, also of unknown ones; items by users, as the notebook has them."""
        weight = np.where(self.R, self.C, self.unknown_weight)
        return torch.from_numpy((self.Y * self.R).T.copy()), torch.from_numpy(weight.T.copy())


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Users and items may be without ratings; values and weights may be equal."""
    shape = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values_are_one, weights_are_one = draw(st.booleans()), draw(st.booleans())
    return Problem(
        rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0])),
        np.ones(shape) if values_are_one else rng.standard_normal(shape),
        np.ones(shape) if weights_are_one else rng.uniform(1 if values_are_one else 0.2, 4, shape),
        # 9 is more than every weight: the unknown pairs then are the heavier ones
        draw(st.sampled_from([0.0, 0.125, 1.0, 9.0])),
        values_are_one,
        weights_are_one,
    )


def error_term_of_all_pairs(problem: Problem, factors: Factors) -> dict[str, Tensor]:
    """1/2 sum C (S - Y)^2 over all pairs, and its gradients, in float64."""
    X, W, b = factors.X.double(), factors.W.double(), factors.b.double()
    c = torch.zeros(1, len(X), dtype=torch.float64) if factors.c is None else factors.c.double()
    Y, C = problem.all_pairs()
    err = X @ W.T + b + c.T - Y
    weighted = C * err
    return {
        "value": (C * err.square()).sum() / 2,
        "X": weighted @ W,
        "W": weighted.T @ X,
        "b": weighted.sum(0, keepdim=True),
        "c": weighted.sum(1)[None],
    }
