"""Solve the ridge regression of each row by conjugate gradients, compiled by numba.

    (A_r + gram + weight_r) d = residual        A_r = sum d_n (f, 1) (f, 1)^T over the row's ratings

`cg_step` is one step on one row in registers. `cg_init_rows` and `cg_step_rows` do it for all rows of a
side, for products with A_r that come from outside. Rows are independent of each other: each one is rounded as
if it were the only one. V rows, K features; names ending in _b belong to the bias.
"""

from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from cofi_dist.kernels.cpu.gram_rows import add_gram_diagonal
from cofi_dist.kernels.cpu.jit import inlined, parallel, row_kernel
from cofi_dist.kernels.cpu.simd import dot, inverse, load_row, store_row

FloatArray = NDArray[np.floating]


class Ridge(NamedTuple):
    """Hold what the rows' least squares have beside their ratings, and when conjugate gradients stop.

    Attributes:
        curvature: sum d_n of each row over all ranks, at least 0, (V,).
        weight: ridge weight of each row's features, (V,).
        weight_b: ridge weight of the biases.
        has_bias: whether the biases are solved for.
        mean_square: of each column of the other side's features, (1, K), for the preconditioner.
        steps: the most steps that `solve_row` takes.
        rounding_floor: a row is done once its squared residual has fallen to this fraction.
        underflow_floor: no step is taken along a direction of less curvature.
    """

    curvature: FloatArray
    weight: FloatArray
    weight_b: float | np.floating
    has_bias: bool
    mean_square: FloatArray
    steps: int
    rounding_floor: float | np.floating
    underflow_floor: float | np.floating


class CgState(NamedTuple):
    """Hold one row's solution and search direction in registers; arrays are of the type `simd.Row`.

    Attributes:
        features, bias: the solution so far.
        residual, residual_b: minus the gradient there.
        direction, direction_b: of the next step.
        residual_norm2: the preconditioned residual's squared norm.
        decrease: by how much the row's part of J has fallen, float64.
        active: whether the last step could be taken.
    """

    features: FloatArray
    bias: float
    residual: FloatArray
    residual_b: float
    direction: FloatArray
    direction_b: float
    residual_norm2: float
    decrease: float
    active: bool


class CgRows(NamedTuple):
    """Hold the state of all rows in memory, except their solutions; compare `CgState`.

    Attributes:
        residual, direction: (V, K).
        residual_b, direction_b: (V,).
        residual_norm2: (V,); 0 once a row cannot take any more steps.
        stop_norm2: below it, the residual consists of rounding errors, (V,).
        decrease: (V,) float64.
    """

    residual: FloatArray
    residual_b: FloatArray
    direction: FloatArray
    direction_b: FloatArray
    residual_norm2: FloatArray
    stop_norm2: FloatArray
    decrease: FloatArray


@inlined
def _inverse_or_zero(diagonal):
    """Return 1 / diagonal, or 0 if the diagonal is too small to have an inverse."""
    return 1 / diagonal if diagonal >= 2.0**-126 else diagonal * 0


@inlined
def jacobi_preconditioner(r, ridge, gram, vectors):
    """Return 1 / the expected diagonal of row r's normal matrix: of its features, and of its bias.

    The diagonal is that of a row with average features on the other side. The row's own diagonal would take
    one more sum over all ranks.
    """
    count = ridge.curvature[r]
    of_ratings = count * load_row(ridge.mean_square, 0, vectors)
    diagonal, diagonal_b = add_gram_diagonal(gram, of_ratings, count, vectors)
    inv_diag = inverse(ridge.weight[r] + diagonal)
    inv_diag_b = _inverse_or_zero(diagonal_b + ridge.weight_b) if ridge.has_bias else count * 0
    return inv_diag, inv_diag_b


@inlined
def cg_step(state, product, product_b, inv_diag, inv_diag_b, underflow_floor):
    """Take one step of preconditioned conjugate gradients on one row.

    Args:
        state: the `CgState` before.
        product: the normal matrix with its ridge weights, times the direction: features.
        product_b: its bias.
        inv_diag: the preconditioner of the features.
        inv_diag_b: the preconditioner of the bias.
        underflow_floor: the smallest curvature, see `Ridge`.

    Returns:
        The state after the step. If the curvature along the direction is not above the floor, no step is
        taken, and the state is no longer active.
    """
    direction, direction_b, norm2 = state.direction, state.direction_b, state.residual_norm2
    features, bias, residual, residual_b = state.features, state.bias, state.residual, state.residual_b
    decrease = state.decrease
    curvature = dot(direction, product) + direction_b * product_b
    active = curvature > underflow_floor
    if active:
        # the step to the minimum along the direction: alpha = (r . M r) / (d . A d)
        step_size = norm2 / curvature
        features, bias = features + step_size * direction, bias + step_size * direction_b
        residual, residual_b = residual - step_size * product, residual_b - step_size * product_b
        # J falls by alpha (r . M r) / 2
        decrease += np.float64(step_size) * np.float64(norm2) / 2
        # the next direction, conjugate to all before: M r + beta d, beta = (r . M r) now / before
        new_norm2 = dot(residual, inv_diag * residual) + residual_b * inv_diag_b * residual_b
        beta = new_norm2 / norm2
        direction = inv_diag * residual + beta * direction
        direction_b = inv_diag_b * residual_b + beta * direction_b
        norm2 = new_norm2
    return CgState(features, bias, residual, residual_b, direction, direction_b, norm2, decrease, active)


@row_kernel
def _init_rows(start, stop, vectors, solved, rows, ridge, gram):
    minus = solved.features.dtype.type(-1)
    for r in range(start, stop):
        weight = ridge.weight[r]
        # residual = -gradient, and the gradient is sum err (f, 1) + weight (features, bias)
        gradient = load_row(rows.residual, r, vectors) + weight * load_row(solved.features, r, vectors)
        residual = minus * gradient
        rows.residual_b[r] = -(rows.residual_b[r] + ridge.weight_b * solved.bias[r])
        # the first direction is the preconditioned residual
        inv_diag, inv_diag_b = jacobi_preconditioner(r, ridge, gram, vectors)
        direction, rows.direction_b[r] = inv_diag * residual, inv_diag_b * rows.residual_b[r]
        rows.residual_norm2[r] = dot(residual, direction) + rows.residual_b[r] * rows.direction_b[r]
        rows.stop_norm2[r] = rows.residual_norm2[r] * ridge.rounding_floor
        rows.decrease[r] = 0
        store_row(residual, rows.residual, r, vectors)
        store_row(direction, rows.direction, r, vectors)


@parallel
def cg_init_rows(threads, vectors, solved, rows, ridge, gram):
    """Prepare the first step of conjugate gradients on every row.

    Args:
        threads: number of threads.
        vectors: of a row, from `vectors_of`.
        solved: the `Side` that is solved for; the start.
        rows: `CgRows`, is overwritten. `residual` holds the sums of err f, and `residual_b` those of err,
            each with the unknown pairs' share.
        ridge: `Ridge`.
        gram: `GramRows`, for the preconditioner; None if unknown pairs have no weight.
    """
    num_rows = solved.features.shape[0]
    share = -(-num_rows // threads)
    for thread in prange(threads):
        start, stop = thread * share, min((thread + 1) * share, num_rows)
        _init_rows(start, stop, vectors, solved, rows, ridge, gram)


@row_kernel
def _step_rows(start, stop, vectors, solved, rows, products, ridge, gram):
    for r in range(start, stop):
        if not rows.residual_norm2[r] > rows.stop_norm2[r]:
            continue
        direction, direction_b = load_row(rows.direction, r, vectors), rows.direction_b[r]
        state = CgState(
            load_row(solved.features, r, vectors),
            solved.bias[r],
            load_row(rows.residual, r, vectors),
            rows.residual_b[r],
            direction,
            direction_b,
            rows.residual_norm2[r],
            rows.decrease[r],
            True,
        )
        # (A + weight) direction, where A is the normal matrix of the row's ratings
        product = load_row(products.features, r, vectors) + ridge.weight[r] * direction
        product_b = products.bias[r] + ridge.weight_b * direction_b
        inv_diag, inv_diag_b = jacobi_preconditioner(r, ridge, gram, vectors)
        state = cg_step(state, product, product_b, inv_diag, inv_diag_b, ridge.underflow_floor)
        store_row(state.features, solved.features, r, vectors)
        if ridge.has_bias:
            solved.bias[r] = state.bias
        store_row(state.residual, rows.residual, r, vectors)
        store_row(state.direction, rows.direction, r, vectors)
        rows.residual_b[r], rows.direction_b[r] = state.residual_b, state.direction_b
        rows.residual_norm2[r] = state.residual_norm2 if state.active else 0
        rows.decrease[r] = state.decrease


@parallel
def cg_step_rows(threads, vectors, solved, rows, products, ridge, gram):
    """Take a step of conjugate gradients on every row whose residual is more than rounding errors.

    Args:
        threads: number of threads.
        vectors: of a row, from `vectors_of`.
        solved: the `Side` that is solved for; moves.
        rows: `CgRows`; moves.
        products: a `Side`: for each row, A_r + gram times its direction, without the ridge weights.
        ridge: `Ridge`.
        gram: `GramRows`, for the preconditioner; None if unknown pairs have no weight.
    """
    num_rows = solved.features.shape[0]
    share = -(-num_rows // threads)
    for thread in prange(threads):
        start, stop = thread * share, min((thread + 1) * share, num_rows)
        _step_rows(start, stop, vectors, solved, rows, products, ridge, gram)
