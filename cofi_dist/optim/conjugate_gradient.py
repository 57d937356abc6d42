"""Solve the ridge regressions of all rows of one side at once, by conjugate gradients.

    (A_r + gram + weight_r) d = residual        A_r = sum d_n (f, 1) (f, 1)^T over the row's ratings

The products of A_r come from outside, because a row's ratings may be on several ranks. The preconditioner is
1 / the diagonal that A_r + weight_r has on average, from the mean square of the fixed side's features. The
exact diagonal would take one more sum over the ranks. K features, V rows, T subtrees of the users; names
ending in _b belong to the bias.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from cofi_dist.kernels.base import (
    RatingKernels,
    RidgeTerm,
    Side,
    accumulation_dtype,
    rounding_floor,
    underflow_floor,
)
from cofi_dist.kernels.block_sums import ordered_row_sums, ordered_sum
from cofi_dist.kernels.cpu import cg
from cofi_dist.kernels.cpu.backend import arrays_of, gram_of, ridge_arrays
from cofi_dist.kernels.cpu.jit import match_torch_threads
from cofi_dist.kernels.cpu.simd import vectors_of
from cofi_dist.kernels.gram import add_gram_product
from cofi_dist.optim.base import PendingSum, Solution, Solved


def solve_by_cg(
    kernels: RatingKernels,
    solved: Side[Tensor],
    fixed: Side[Tensor],
    ridge: RidgeTerm,
    column_squares: Tensor,
    steps: int,
    *,
    is_local: bool,
) -> Solved:
    """Take steps of conjugate gradients on all rows together; yield what is to be summed over the ranks.

    `RatingKernels.solve_rows` does the same on one row after the other.

    Args:
        kernels: this rank's ratings of the rows.
        solved: the rows to solve for; moves.
        fixed: the other side's rows.
        ridge: what is minimised beside the squared errors.
        column_squares: sum of the squares of each column of the fixed features, each row weighted by its
            curvature, of each subtree, (T, K).
        steps: the number of steps.
        is_local: whether all ratings of each row are on this rank, so that nothing has to be summed.
    """
    sums, sums_b, half_BV = kernels.error_gradients(solved, fixed)
    if not is_local:
        yield PendingSum(sums, sums_b, column_squares)
    if ridge.gram is not None:
        total = Side(sums[0], sums_b[0])
        add_gram_product(total, solved, ridge.gram, constant=1, fixes_order=kernels.fixes_order)
    mean_square = column_squares[0] / ridge.total_curvature
    conjugate_gradient = start_cg(
        solved, Side(sums[0], sums_b[0]), mean_square, ridge, fixes_order=kernels.fixes_order
    )
    for _ in range(steps):
        products, products_b = kernels.normal_products(conjugate_gradient.direction, fixed)
        if not is_local:
            yield PendingSum(products, products_b)
        total = Side(products[0], products_b[0])
        if ridge.gram is not None:
            direction, fixes_order = conjugate_gradient.direction, kernels.fixes_order
            add_gram_product(total, direction, ridge.gram, constant=0, fixes_order=fixes_order)
        conjugate_gradient.step(total)
    return Solution(
        ordered_row_sums(half_BV), ordered_sum(conjugate_gradient.decreases), half_BV.new_zeros(())
    )


class ConjugateGradient(Protocol):
    """Move the solved side's features, and its biases if they are solved for, step by step.

    Attributes:
        direction: of the next step, a row per row of the solved side.
        decreases: by how much each row's part of J has fallen so far, (V,); float64, except on mps.
    """

    direction: Side[Tensor]
    decreases: Tensor

    def step(self, products: Side[Tensor]) -> None:
        """Take a step along the direction.

        Args:
            products: A_r times the direction, without the ridge weights; may be overwritten.
        """
        ...


def start_cg(
    solved: Side[Tensor],
    gradient_sums: Side[Tensor],
    mean_square: Tensor,
    ridge: RidgeTerm,
    *,
    fixes_order: bool,
) -> ConjugateGradient:
    """Prepare the first step of conjugate gradients on all rows.

    Args:
        solved: the rows to solve for; moves with every step.
        gradient_sums: of err f and of err over all ranks; is overwritten.
        mean_square: of each column of the fixed features, (K,).
        ridge: what is minimised beside the squared errors.
        fixes_order: whether a row's steps must not depend on which other rows there are, on any device.
    """
    if solved.features.device.type == "cpu":
        return NumbaCG(solved, gradient_sums, mean_square, ridge)
    if not fixes_order:
        return TorchCG(solved, gradient_sums, mean_square, ridge)
    from cofi_dist.kernels.cuda.rows import row_dots  # Triton is not installed everywhere

    return TorchCG(solved, gradient_sums, mean_square, ridge, row_dots)


class NumbaCG:
    """Take the steps in compiled loops, in one pass over the rows each; see `start_cg`."""

    def __init__(
        self, solved: Side[Tensor], gradient_sums: Side[Tensor], mean_square: Tensor, ridge: RidgeTerm
    ) -> None:
        features, bias = solved
        self.direction = Side(torch.empty_like(features), torch.empty_like(bias))
        self.decreases = torch.empty(len(features), dtype=torch.float64)
        self._vectors = vectors_of(features.shape[1], features.element_size())
        residual, direction = arrays_of(gradient_sums), arrays_of(self.direction)
        self._rows = cg.CgRows(
            residual=residual.features,
            residual_b=residual.bias,
            direction=direction.features,
            direction_b=direction.bias,
            residual_norm2=torch.empty_like(bias).numpy(),
            stop_norm2=torch.empty_like(bias).numpy(),
            decrease=self.decreases.numpy(),
        )
        self._solved = arrays_of(solved)
        floor = self._solved.features.dtype.type(rounding_floor(features.dtype))
        self._ridge = ridge_arrays(ridge, mean_square, steps=0, rounding_floor=floor), gram_of(ridge)
        cg.cg_init_rows(match_torch_threads(), self._vectors, self._solved, self._rows, *self._ridge)

    def step(self, products: Side[Tensor]) -> None:
        operands = self._solved, self._rows, arrays_of(products), *self._ridge
        cg.cg_step_rows(match_torch_threads(), self._vectors, *operands)


def _row_dots(A: Tensor, B: Tensor) -> Tensor:
    """Return A_r . B_r of each row, in an order that may depend on the number of rows."""
    return (A * B).sum(1)


class TorchCG:
    """Take the steps in torch's operations, on any device; see `start_cg`.

    All but `row_dots`, which multiplies two matrices row by row, work on each number by itself.
    """

    def __init__(
        self,
        solved: Side[Tensor],
        gradient_sums: Side[Tensor],
        mean_square: Tensor,
        ridge: RidgeTerm,
        row_dots: Callable[[Tensor, Tensor], Tensor] = _row_dots,
    ) -> None:
        self._solved, self._ridge, self._row_dots = solved, ridge, row_dots
        self._weight = ridge.weight[:, None]
        diagonal = ridge.curvature[:, None] * mean_square + self._weight
        diagonal_b = ridge.curvature + ridge.weight_b
        if ridge.gram is not None:
            K, of_gram = diagonal.shape[1], ridge.gram.diagonal()
            diagonal, diagonal_b = diagonal + of_gram[:K], diagonal_b + of_gram[K]
        self._inv_diag, self._inv_diag_b = _inverse_or_zero(diagonal), _inverse_or_zero(diagonal_b)
        if not ridge.has_bias:
            self._inv_diag_b = torch.zeros_like(self._inv_diag_b)
        # residual = -gradient, and the gradient is sum err (f, 1) + weight (features, bias)
        self._residual = gradient_sums.features.add_(self._weight * solved.features).neg_()
        self._residual_b = gradient_sums.bias.add_(ridge.weight_b * solved.bias).neg_()
        # the first direction is the preconditioned residual
        direction, direction_b = self._inv_diag * self._residual, self._inv_diag_b * self._residual_b
        self.direction = Side(direction, direction_b)
        self._norm2 = row_dots(self._residual, direction) + self._residual_b * direction_b
        # below this, the residual consists of rounding errors
        self._stop_norm2 = self._norm2 * rounding_floor(solved.features.dtype)
        self._underflow_floor = underflow_floor(solved.features.dtype)
        dtype = accumulation_dtype(solved.features)
        self.decreases = torch.zeros(len(diagonal), dtype=dtype, device=diagonal.device)

    def step(self, products: Side[Tensor]) -> None:
        (features, bias), (direction, direction_b), norm2 = self._solved, self.direction, self._norm2
        shape = features.shape
        # (A + weight) direction
        product = products.features.addcmul_(self._weight.expand(shape), direction)
        product_b = products.bias.add_(direction_b, alpha=self._ridge.weight_b)
        # rows whose residual consists of rounding errors, or whose curvature is lost, take no step
        curvature = self._row_dots(direction, product) + direction_b * product_b
        active = (curvature > self._underflow_floor) & (norm2 > self._stop_norm2)
        # the step to the minimum along the direction: alpha = (r . M r) / (d . A d)
        step_size = torch.where(active, norm2 / curvature, 0)
        # J falls by alpha (r . M r) / 2
        self.decreases += step_size.to(self.decreases.dtype) * norm2 / 2
        features.addcmul_(step_size[:, None].expand(shape), direction)
        self._residual.addcmul_(step_size[:, None].expand(shape), product, value=-1)
        self._residual_b.addcmul_(step_size, product_b, value=-1)
        if self._ridge.has_bias:
            bias.addcmul_(step_size, direction_b)
        # the next direction, conjugate to all before: M r + beta d, beta = (r . M r) now / before
        scaled, scaled_b = self._inv_diag * self._residual, self._inv_diag_b * self._residual_b
        self._norm2 = self._row_dots(self._residual, scaled) + self._residual_b * scaled_b
        beta = torch.where(active, self._norm2 / norm2, 0)
        scaled.addcmul_(beta[:, None].expand(shape), direction)
        self.direction = Side(scaled, scaled_b.addcmul_(beta, direction_b))


def _inverse_or_zero(diagonal: Tensor) -> Tensor:
    """Return 1 / diagonal, or 0 where the diagonal is 0, since nothing depends on that unknown."""
    return torch.where(diagonal > 0, 1 / diagonal, 0)
