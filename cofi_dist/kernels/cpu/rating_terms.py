"""Form one rating's terms of the cost, with weights or without them, compiled by numba.

The kind of the ratings, `Csr` or `WeightedCsr`, is a type. Ratings without weights therefore run code that
knows of none. The terms are those of `cofi_dist.kernels.base`.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from cofi_dist.kernels.base import WeightedCsr


def error_and_square(ratings: Any, n: int, score: Any) -> Any:
    """Return err_n, and 2 half_n in float64, of the rating n whose score is s_n."""
    raise NotImplementedError("only compiled loops call it")


def times_curvature(ratings: Any, n: int, number: Any) -> Any:
    """Return d_n times the number."""
    raise NotImplementedError("only compiled loops call it")


def _entry(column: Any, n: int) -> Any:
    raise NotImplementedError("only compiled loops call it")


def _has_weights(ratings: Any) -> bool:
    return getattr(ratings, "instance_class", None) is WeightedCsr


@overload(_entry, inline="always")
def _implement_entry(column, n):
    if isinstance(column, types.Array):
        return lambda column, n: column[n]
    return lambda column, n: column  # one number, for all ratings


@overload(error_and_square, inline="always")
def _implement_error_and_square(ratings, n, score):
    if _has_weights(ratings):

        def weighted(ratings, n, score):
            weight, unknown_weight = _entry(ratings.weights, n), ratings.unknown_weight
            err = score - _entry(ratings.values, n)
            square = np.float64(weight) * (np.float64(err) * np.float64(err))
            square -= np.float64(unknown_weight) * (np.float64(score) * np.float64(score))
            return weight * err - unknown_weight * score, square

        return weighted

    def plain(ratings, n, score):
        err = score - ratings.values[n]
        return err, np.float64(err) * np.float64(err)

    return plain


@overload(times_curvature, inline="always")
def _implement_times_curvature(ratings, n, number):
    if _has_weights(ratings):
        return lambda ratings, n, number: (_entry(ratings.weights, n) - ratings.unknown_weight) * number
    return lambda ratings, n, number: number
