"""Conjugate gradients on the least squares of all rows of a side at once; the products come from outside.

    A_r = sum (p, 1) (p, 1)^T + weight_r        residual = -gradient        over = 1 / A_r's diagonal

The diagonal is that which a row has on average, from the mean square of P's columns: its own would be one
more sum over the ranks. K features, R rows.
"""

from typing import Protocol

import torch
from torch import Tensor

from cofi_dist.kernels.base import RidgeTerm, accumulation_dtype, tiny_of
from cofi_dist.kernels.block_sums import ordered_sum
from cofi_dist.kernels.cpu import cg
from cofi_dist.kernels.cpu.jit import match_torch_threads
from cofi_dist.kernels.cpu.simd import lanes_of


class Descent(Protocol):
    """Moves Z, and z where it is solved for, step by step.

    Attributes:
        direction, direction_b: of the next step, (R, K) and (R,).
    """

    direction: Tensor
    direction_b: Tensor

    def step(self, product: Tensor, product_b: Tensor) -> None:
        """Along the direction, whose product with the ratings' part of A is given; it may be overwritten."""
        ...

    @property
    def gain(self) -> Tensor:
        """By how much J fell so far, 0-dim float64."""
        ...


def descend(
    Z: Tensor, z: Tensor, sums: Tensor, sums_b: Tensor, mean_square: Tensor, least: RidgeTerm
) -> Descent:
    """Before the first step; in one pass over the rows on a CPU.

    Args:
        Z: (R, K), is moved.
        z: (R,), is moved where it is solved for.
        sums: of err p over all ranks, (R, K); is overwritten.
        sums_b: of err, (R,); is overwritten.
        mean_square: of P's columns, (K,).
        least: the rest of the least squares.
    """
    kind = LoopDescent if Z.device.type == "cpu" else TensorDescent
    return kind(Z, z, sums, sums_b, mean_square, least)


class LoopDescent:
    """By the compiled loops."""

    def __init__(
        self, Z: Tensor, z: Tensor, sums: Tensor, sums_b: Tensor, mean_square: Tensor, least: RidgeTerm
    ) -> None:
        self.direction, self.direction_b = torch.empty_like(Z), torch.empty_like(z)
        square, floor = torch.empty_like(z), torch.empty_like(z)
        self._gain = torch.empty(len(Z), dtype=torch.float64)
        rows = least.counts, least.weight, square, floor, self._gain
        both = (Z, z), (sums, sums_b), (self.direction, self.direction_b)
        self._state = tuple(tuple(t.numpy() for t in pair) for pair in both)
        self._rows = tuple(t.numpy() for t in rows)
        number = self._rows[0].dtype.type
        self._settings = least.has_bias, number(least.weight_b), mean_square[None].numpy()
        self._lanes = lanes_of(Z.shape[1], Z.element_size())
        tiny = number(tiny_of(Z.dtype))
        cg.descent(match_torch_threads(), self._lanes, *self._state, self._rows, (*self._settings, tiny))

    def step(self, product: Tensor, product_b: Tensor) -> None:
        products = product.numpy(), product_b.numpy()
        given = *self._state, products, self._rows, self._settings
        cg.descend(match_torch_threads(), self._lanes, *given)

    @property
    def gain(self) -> Tensor:
        return ordered_sum(self._gain)


class TensorDescent:
    """By torch's operations, on any device."""

    def __init__(
        self, Z: Tensor, z: Tensor, sums: Tensor, sums_b: Tensor, mean_square: Tensor, least: RidgeTerm
    ) -> None:
        self._Z, self._z, self._least = Z, z, least
        self._weight = least.weight[:, None]
        self._over = _inverse(least.counts[:, None] * mean_square + self._weight)
        self._over_b = _inverse(least.counts + least.weight_b)
        if not least.has_bias:
            self._over_b = torch.zeros_like(self._over_b)
        self._left = sums.add_(self._weight * Z).neg_()
        self._left_b = sums_b.add_(least.weight_b * z).neg_()
        self.direction, self.direction_b = self._over * self._left, self._over_b * self._left_b
        self._square = (self._left * self.direction).sum(1) + self._left_b * self.direction_b
        self._floor = self._square * tiny_of(Z.dtype)
        self._gain = torch.zeros((), dtype=accumulation_dtype(Z), device=Z.device)

    def step(self, product: Tensor, product_b: Tensor) -> None:
        Z, D, D_b, square = self._Z, self.direction, self.direction_b, self._square
        product.addcmul_(self._weight.expand_as(product), D)
        product_b = product_b.add_(D_b, alpha=self._least.weight_b)
        curvature = (D * product).sum(1) + D_b * product_b
        goes = (curvature > 0) & (square > self._floor)
        far = torch.where(goes, square / curvature, 0)
        self._gain += ordered_sum(far.to(self._gain.dtype) * square) / 2
        Z.addcmul_(far[:, None].expand_as(Z), D)
        self._left.addcmul_(far[:, None].expand_as(Z), product, value=-1)
        self._left_b.addcmul_(far, product_b, value=-1)
        if self._least.has_bias:
            self._z.addcmul_(far, D_b)
        ready, ready_b = self._over * self._left, self._over_b * self._left_b
        self._square = (self._left * ready).sum(1) + self._left_b * ready_b
        ratio = torch.where(goes, self._square / square, 0)
        self.direction = ready.addcmul_(ratio[:, None].expand_as(D), D)
        self.direction_b = ready_b.addcmul_(ratio, D_b)

    @property
    def gain(self) -> Tensor:
        return self._gain


def _inverse(diagonal: Tensor) -> Tensor:
    """1 / d; 0 where d is 0: nothing there depends on the unknown."""
    return torch.where(diagonal > 0, 1 / diagonal, 0)
