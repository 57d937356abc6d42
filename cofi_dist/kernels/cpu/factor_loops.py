"""The loops over rows of factors alone, no ratings, compiled by numba; each row as if it were the only one.

R rows of Z, K features.
"""

import numpy as np
from numba import prange

from cofi_dist.kernels.cpu.jit import parallel, parallel_unfused


@parallel
def squares(first, last, Z, weight, out):
    """out_b += sum weight_r Z_r^2 over the rows from first_b to before last_b, each in float64."""
    for b in prange(first.shape[0]):
        for r in range(first[b], last[b]):
            for k in range(Z.shape[1]):
                out[b, k] += np.float64(weight[r]) * (np.float64(Z[r, k]) * np.float64(Z[r, k]))


@parallel_unfused
def adam(threads, factor, grad, mean, square, decay, settings):
    """Take one step of Adam on flat arrays in a single pass, with decay x factor added to the gradient."""
    keep, keep_square, size, root, eps = settings
    one = factor.dtype.type(1)
    each = -(-factor.shape[0] // threads)
    for thread in prange(threads):
        mine = slice(thread * each, (thread + 1) * each)
        p, d, m, v = factor[mine], grad[mine], mean[mine], square[mine]
        for n in range(p.shape[0]):
            g = d[n] + decay * p[n]
            m[n] += (one - keep) * (g - m[n])
            v[n] = keep_square * v[n] + (one - keep_square) * (g * g)
            p[n] -= size * m[n] / (np.sqrt(v[n]) / root + eps)
