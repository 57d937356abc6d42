"""Bound how far a score that a matrix product has computed may be from the one that decides.

A filter computes f_i, an approximation of `x_i . w + o_i`: X, w and o are rounded to the filter's precision,
whose unit roundoff is u, and the K products and o are added in any order, with or without FMA. So each term
is rounded K + 3 times at most. The score s_i that decides is rounded as often, to float64, and has b in it
too (`cofi_dist.ranking.top_k`). With `size = max_i |x_i| |w| + max_i |o_i|`, which by Cauchy and Schwarz is
not less than any sum of |x_ik w_k| and |o_i|, and with v the unit roundoff of float64,

    |(s_i - b) - f_i|  <=  E  =  1.01 ((K + 3) u size + (K + 3) v (size + |b|))  +  underflow

as long as (K + 5) u < 1/256, since n roundings change a term by at most n u / (1 - n u) of it.

Let f be the k-th best of the f_i. Then k items have s_i - b >= f - E, and so has the k-th best s. Rounding to
TIE_DECIMALS decimals, 10, keeps the order, and joins only scores that are within 10^-10 + 8 v (size + |b|).
So every item that is in the list or tied with its last has

    f_i  >=  f - 2 E - 10^-10 - 8 v (size + |b|)

The margin below adds what computing this limit itself rounds, less than 2 u size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cofi_dist.ranking.top_k import TIE_DECIMALS

# U users of a batch, M items, K features.

V = 2.0**-53  # unit roundoff of float64


@dataclass(frozen=True)
class ItemSizes:
    """Hold how large the items' numbers are at most.

    Attributes:
        features: max_i |x_i|.
        offset: max_i |o_i|.
        num_features: K.
    """

    features: float
    offset: float
    num_features: int

    @classmethod
    def of(cls, X: NDArray[np.float64], offset: NDArray[np.float64]) -> "ItemSizes":
        """Measure the items, (M, K) and (M,); inf or nan if a number is, or its square."""
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.einsum("ik,ik->i", X, X)
        return cls(
            features=float(np.sqrt(squares.max(initial=0.0))),
            offset=float(np.abs(offset).max(initial=0.0)),
            num_features=X.shape[1],
        )

    def margins(
        self, w: NDArray[np.float64], b: NDArray[np.float64], dtype: type[np.floating]
    ) -> NDArray[np.float64]:
        """Return how far below the k-th best the filter's scores of a list's items may be, (U,).

        Args:
            w: user weights, (U, K).
            b: user biases, (U,).
            dtype: of the filter.

        Returns:
            nan for a user whose scores might overflow: no filter of this dtype will do.
        """
        u, least = (float(x) for x in (np.finfo(dtype).eps / 2, np.finfo(dtype).tiny))
        # products of such numbers, and their rounding to decimals, are finite
        most = float(np.finfo(dtype).max) / 2.0**50
        with np.errstate(over="ignore", invalid="ignore"):
            norm = np.sqrt(np.einsum("jk,jk->j", w, w))
            size = self.features * norm + self.offset
            roundings = self.num_features + 5
            rounding = roundings * u * size + (roundings + 4) * V * (size + np.abs(b))
            underflow = roundings * least * (4 + self.features + norm)
            margins = 1.01 * (2 * (rounding + underflow) + 10.0**-TIE_DECIMALS)
            is_bounded = (size < most) & (np.abs(b) < most) & (norm < most) & (self.features < most)
        return np.where(is_bounded & (roundings * u < 2.0**-8), margins, np.nan)
