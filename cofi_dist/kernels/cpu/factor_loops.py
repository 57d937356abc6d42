"""Loop over the rows or entries of a factor, without any ratings, compiled by numba.

V rows, K features.
"""

from typing import NamedTuple

import numpy as np
from numba import prange

from cofi_dist.kernels.cpu.jit import parallel, parallel_unfused


class AdamSettings(NamedTuple):
    """Hold the scalars of a step of Adam, in the factor's dtype.

    Attributes:
        beta1, beta2: decay rates of the mean and of the mean square.
        step_size: lr / (1 - beta1^t).
        root: sqrt(1 - beta2^t).
        eps: is added to the denominator.
        weight_decay: times the factor, is added to the gradient.
    """

    beta1: np.floating
    beta2: np.floating
    step_size: np.floating
    root: np.floating
    eps: np.floating
    weight_decay: np.floating


@parallel
def weighted_squares(starts, stops, factor, weight, out):
    """Add sum weight_r factor_rk^2 over rows starts[b] to stops[b] - 1 to out[b], (K,), in float64."""
    for b in prange(starts.shape[0]):
        for r in range(starts[b], stops[b]):
            for k in range(factor.shape[1]):
                out[b, k] += np.float64(weight[r]) * (np.float64(factor[r, k]) * np.float64(factor[r, k]))


@parallel
def gram_matrices(starts, stops, features, bias, out):
    """Add sum (f, 1, f_b) (f, 1, f_b)^T over rows starts[b] to stops[b] - 1 to out[b], (K + 2, K + 2)."""
    K = features.shape[1]
    for b in prange(starts.shape[0]):
        # four rows at a time, so that an entry of the sum is loaded and stored once for all of them
        four = np.empty((4, K + 2))
        for first in range(starts[b], stops[b], 4):
            for place in range(4):
                r = first + place
                if r < stops[b]:
                    for k in range(K):
                        four[place, k] = features[r, k]
                    four[place, K], four[place, K + 1] = 1.0, bias[r]
                else:
                    four[place, :] = 0.0
            for k in range(K + 2):
                f0, f1, f2, f3 = four[0, k], four[1, k], four[2, k], four[3, k]
                for other in range(k, K + 2):
                    out[b, k, other] += (
                        f0 * four[0, other] + f1 * four[1, other] + f2 * four[2, other] + f3 * four[3, other]
                    )
        for k in range(K + 2):
            for other in range(k):
                out[b, k, other] = out[b, other, k]


@parallel_unfused
def adam(threads, factor, grad, mean, square, settings):
    """Take one step of Adam on flat arrays in a single pass; moves `factor`, `mean` and `square`."""
    beta1, beta2, step_size, root, eps, weight_decay = settings
    one = factor.dtype.type(1)
    share = -(-factor.shape[0] // threads)
    for thread in prange(threads):
        mine = slice(thread * share, (thread + 1) * share)
        p, d, m, v = factor[mine], grad[mine], mean[mine], square[mine]
        for n in range(p.shape[0]):
            g = d[n] + weight_decay * p[n]
            m[n] += (one - beta1) * (g - m[n])
            v[n] = beta2 * v[n] + (one - beta2) * (g * g)
            p[n] -= step_size * m[n] / (np.sqrt(v[n]) / root + eps)
