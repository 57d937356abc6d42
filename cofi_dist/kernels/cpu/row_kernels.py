"""Sum over the ratings of one row, compiled by numba; each sum reads the ratings once, in order.

`s` is a segment: the ratings n from ratings.indptr[s] to ratings.indptr[s + 1] - 1. They belong to the row
whose features are `own` and whose bias is `own_bias`. Rows of K numbers are those of
`cofi_dist.kernels.cpu.simd`: they stay in registers while all ratings go by, and the features f of the other
side's row are loaded once per rating. K features.

    s_n   = f_n . own + own_bias + fixed.bias_n
    err_n = s_n - value_n                   or, with weights, as `cofi_dist.kernels.base` has it
"""

import numpy as np

from cofi_dist.kernels.cpu.cg import CgState, cg_step, jacobi_preconditioner
from cofi_dist.kernels.cpu.gram_rows import add_gram
from cofi_dist.kernels.cpu.jit import inlined
from cofi_dist.kernels.cpu.rating_terms import error_and_square, times_curvature
from cofi_dist.kernels.cpu.simd import dot, load_row, prefetch, zeros

# The features of the rating this far ahead are prefetched: memory takes about as long to answer.
PREFETCH_DISTANCE = 8


@inlined
def row_half_squared_error(s, ratings, own, own_bias, fixed, vectors):
    """Return sum half_n over a segment, in float64."""
    features, offset, indices = fixed.features, fixed.bias, ratings.indices
    squares, end = 0.0, indices.shape[0] - 1
    for n in range(ratings.indptr[s], ratings.indptr[s + 1]):
        prefetch(features, indices[min(n + PREFETCH_DISTANCE, end)], vectors)
        q = indices[n]
        score = dot(load_row(features, q, vectors), own) + own_bias + offset[q]
        _, square = error_and_square(ratings, n, score)
        squares += square
    return squares / 2


@inlined
def accumulate_gradient(s, ratings, own, own_bias, fixed, total, total_bias, vectors):
    """Return total + sum err f, total_bias + sum err, and sum half_n in float64, over a segment."""
    features, offset, indices = fixed.features, fixed.bias, ratings.indices
    squares, end = 0.0, indices.shape[0] - 1
    for n in range(ratings.indptr[s], ratings.indptr[s + 1]):
        prefetch(features, indices[min(n + PREFETCH_DISTANCE, end)], vectors)
        q = indices[n]
        f = load_row(features, q, vectors)
        err, square = error_and_square(ratings, n, dot(f, own) + own_bias + offset[q])
        total = total + err * f
        total_bias += err
        squares += square
    return total, total_bias, squares / 2


@inlined
def accumulate_normal_product(s, ratings, direction, direction_b, fixed, total, vectors):
    """Return total + sum p f, and sum p, over a segment, where p_n = d_n (f_n . direction + direction_b).

    This is the normal matrix of the segment's ratings, sum d_n (f, 1) (f, 1)^T, times the direction.
    """
    features, indices = fixed.features, ratings.indices
    total_bias, end = features.dtype.type(0), indices.shape[0] - 1
    for n in range(ratings.indptr[s], ratings.indptr[s + 1]):
        prefetch(features, indices[min(n + PREFETCH_DISTANCE, end)], vectors)
        f = load_row(features, indices[n], vectors)
        p = times_curvature(ratings, n, dot(f, direction) + direction_b)
        total = total + p * f
        total_bias += p
    return total, total_bias


@inlined
def solve_row(s, r, ratings, solved, fixed, ridge, gram, vectors):
    """Take steps of conjugate gradients on the least squares of row r, whose ratings are all in segment s.

    Returns:
        The `CgState` after the last step, and sum half_n before the first.
    """
    own, own_bias = load_row(solved.features, r, vectors), solved.bias[r]
    weight, minus = ridge.weight[r], solved.features.dtype.type(-1)
    one, zero = solved.features.dtype.type(1), solved.features.dtype.type(0)
    # gradient = sum err (f, 1) + gram (own, bias, 1) + weight (own, bias), and residual = -gradient
    gradient, gradient_b, half = accumulate_gradient(
        s, ratings, own, own_bias, fixed, zeros(own), zero, vectors
    )
    gradient, gradient_b = add_gram(gram, own, own_bias, one, gradient, gradient_b, vectors)
    residual, residual_b = minus * (gradient + weight * own), -(gradient_b + ridge.weight_b * own_bias)
    # the first direction is the preconditioned residual
    inv_diag, inv_diag_b = jacobi_preconditioner(r, ridge, gram, vectors)
    direction, direction_b = inv_diag * residual, inv_diag_b * residual_b
    norm2 = dot(residual, direction) + residual_b * direction_b
    # below this, the residual consists of rounding errors
    stop_norm2 = norm2 * ridge.rounding_floor
    # the scalars of all steps are float64, as 1 / diagonal is
    bias, bias_residual = np.float64(own_bias), np.float64(residual_b)
    state = CgState(own, bias, residual, bias_residual, direction, direction_b, norm2, 0.0, True)
    for _ in range(ridge.steps):
        if not state.residual_norm2 > stop_norm2:
            break
        # (A + gram + weight) direction, where A is the normal matrix of the row's ratings
        product, product_b = accumulate_normal_product(
            s, ratings, state.direction, state.direction_b, fixed, weight * state.direction, vectors
        )
        product, product_b = add_gram(
            gram, state.direction, state.direction_b, zero, product, product_b, vectors
        )
        product_b += ridge.weight_b * state.direction_b
        state = cg_step(state, product, product_b, inv_diag, inv_diag_b, ridge.underflow_floor)
        if not state.active:
            break
    return state, half
