"""The cost of implicit feedback, written down once more, for benchmarks.implicit to judge all solvers by.

J = 1/2 sum over events of c (s - 1)^2 + 1/2 sum over other pairs of s^2 + lambda/2 (|W|^2 + |X|^2)

The second sum is that over all pairs, which is the product of two Gram matrices, less that over the events.
Everything is summed in float64. Nothing of cofi_dist is used.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Matrix = NDArray[np.floating]


@dataclass(frozen=True)
class Events:
    """Events of U users on M items, user by user.

    Attributes:
        indptr: where each user's events start, and where the last user's end, (U + 1,).
        item: (N,).
        weight: c of each event, (N,).
    """

    indptr: NDArray[np.int64]
    item: NDArray[np.int32]
    weight: NDArray[np.float64]
    num_items: int

    @property
    def weight_of_all(self) -> float:
        """Weights of all pairs, of which those without events have the weight 1."""
        num_users = len(self.indptr) - 1
        return float(self.weight.sum()) + num_users * self.num_items - len(self.item)


@njit(parallel=True)
def _known(indptr, item, weight, W, X, half_U, gradient_UK):  # type: ignore[no-untyped-def]
    for j in prange(len(indptr) - 1):
        half = 0.0
        for n in range(indptr[j], indptr[j + 1]):
            s = 0.0
            for k in range(W.shape[1]):
                s += np.float64(W[j, k]) * np.float64(X[item[n], k])
            half += 0.5 * (weight[n] * (s - 1.0) ** 2 - s * s)
            if len(gradient_UK):
                for k in range(W.shape[1]):
                    gradient_UK[j, k] += (weight[n] * (s - 1.0) - s) * X[item[n], k]
        half_U[j] = half


def cost(events: Events, W: Matrix, X: Matrix, lambda_: float) -> float:
    """J of the users' and the items' features, (U, K) and (M, K)."""
    half_U = np.empty(len(W))
    _known(events.indptr, events.item, events.weight, W, X, half_U, np.empty((0, 0)))
    gram_W, gram_X = (wide.T @ wide for wide in (W.astype(np.float64), X.astype(np.float64)))
    squares = np.trace(gram_W) + np.trace(gram_X)
    return float(half_U.sum() + (gram_W * gram_X).sum() / 2 + lambda_ / 2 * squares)


def user_gradient(events: Events, W: Matrix, X: Matrix, lambda_: float) -> Matrix:
    """dJ/dW, (U, K)."""
    wide_W, wide_X = W.astype(np.float64), X.astype(np.float64)
    gradient = wide_W @ (wide_X.T @ wide_X) + lambda_ * wide_W
    _known(events.indptr, events.item, events.weight, W, X, np.empty(len(W)), gradient)
    return gradient
