"""Keep the factors small: compute the regulariser and its gradients.

M items, U users of this rank, K features.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost.term import RowSums
from cofi_dist.factors import BIASES, Factors


@dataclass(frozen=True)
class Regulariser:
    """Penalise large factors, with a weight that may grow with the number of ratings.

        lambda/2 (sum_j n_j^p |w_j|^2 + sum_i n_i^p |x_i|^2) + lambda_b/2 (|b|^2 + |c|^2)

    User j has n_j training ratings, item i has n_i; if unknown pairs have the weight a0, a0 times the number
    of rows of the other side is added (Rendle et al. 2021). A row without ratings counts as having one, so
    that it shrinks and does not keep its random start. The notebook has p = 0 and lambda_b = 0.

    Attributes:
        lambda_: weight of the features.
        lambda_b: weight of the biases.
        scale_X: n_i^p, (M, 1); None if p = 0.
        scale_W: n_j^p of this rank's users, (U, 1); None if p = 0.
    """

    lambda_: float
    lambda_b: float = 0.0
    scale_X: Tensor | None = None
    scale_W: Tensor | None = None

    @property
    def is_weight_decay(self) -> bool:
        """Tell whether every factor's gradient is one number times the factor."""
        return self.scale_X is None and self.scale_W is None

    def user_squares(self, factors: Factors, sums: RowSums) -> tuple[Tensor, Tensor]:
        """Return sum_j n_j^p |w_j|^2 and |b|^2 per subtree of the rank's users, (T,) each."""
        return sums.squares_over_users(factors.W, _flat(self.scale_W)), sums.squares_over_users(factors.b.T)

    def item_squares(self, factors: Factors, sums: RowSums) -> tuple[Tensor, Tensor | None]:
        """Return sum_i n_i^p |x_i|^2 and |c|^2 over all items, 0-dim each; None without c."""
        X2 = sums.squares_over_items(factors.X, _flat(self.scale_X))
        return X2, None if factors.c is None else sums.squares_over_items(factors.c.T)

    def value(
        self, user_squares: tuple[Tensor, Tensor], item_squares: tuple[Tensor, Tensor | None]
    ) -> Tensor:
        """Return the regulariser over all ranks, 0-dim; X and c count once.

        Args:
            user_squares: the result of `user_squares`, summed over the subtrees of all ranks.
            item_squares: the result of `item_squares`.
        """
        (W2, b2), (X2, c2) = user_squares, item_squares
        biases2 = b2 if c2 is None else b2 + c2
        return (self.lambda_ / 2) * (W2 + X2) + (self.lambda_b / 2) * biases2

    def weight(self, name: str) -> float:
        """Return the weight of a factor: lambda_b for biases, lambda for features."""
        return self.lambda_b if name in BIASES else self.lambda_

    def row_weights(self, name: str, factor: Tensor) -> Tensor:
        """Return the weight of each row of X or W, (rows,): lambda n^p."""
        scale = self._scale(name)
        return torch.full_like(factor[:, 0], self.lambda_) if scale is None else self.lambda_ * scale[:, 0]

    def add_gradient(self, name: str, factor: Tensor, gradient: Tensor) -> None:
        """Add a factor's penalty to the error's gradient, in place.

        Args:
            name: of the factor, "X", "W", "b" or "c".
            factor: its value.
            gradient: of the error, already summed over the ranks.
        """
        weight, scale = self.weight(name), self._scale(name)
        if name in BIASES:
            if weight:
                gradient.add_(factor, alpha=weight)
        elif scale is None:
            # a multiplication and an addition, each rounded, as autograd does it in the notebook
            gradient.add_(weight * factor)
        else:
            gradient.addcmul_(scale, factor, value=weight)

    def _scale(self, name: str) -> Tensor | None:
        return {"X": self.scale_X, "W": self.scale_W}.get(name)


def count_scales(
    power: float, item_counts: NDArray[np.floating], user_counts: NDArray[np.number], factors: Factors
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Return the `scale_X` and `scale_W` of a regulariser; None and None if p = 0.

    Args:
        power: the exponent p.
        item_counts: n of each item, over all ranks, (M,).
        user_counts: n of each of this rank's users, (U,).
        factors: give the device and the dtype.
    """
    if power == 0:
        return None, None
    X, W = factors.X, factors.W
    scale_X, scale_W = (torch.from_numpy(_powers(n, power)) for n in (item_counts, user_counts))
    return scale_X[:, None].to(X.device, X.dtype), scale_W[:, None].to(W.device, W.dtype)


def _powers(counts: NDArray[np.number], power: float) -> NDArray[np.float64]:
    """Raise each count to the power on its own, as numpy may round equal counts differently by position."""
    found, place = np.unique(np.maximum(counts, 1), return_inverse=True)
    return np.array([math.pow(n, power) for n in found.tolist()], np.float64)[place]


def _flat(scale: Tensor | None) -> Tensor | None:
    return None if scale is None else scale[:, 0]
