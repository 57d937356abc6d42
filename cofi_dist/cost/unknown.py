"""Add the unknown pairs to the cost: a0/2 sum s^2 over all pairs, which takes no pair.

The kernels take a0/2 sum s^2 over the known pairs off again. With rows that are extended by their biases,
x~ = (x, 1, c) and w~ = (w, b, 1), a score is s = x~ . w~, so

    sum over all s^2 = sum_kl (G_W)_kl (G_X)_kl         G_W = sum w~ w~^T,  G_X = sum x~ x~^T

(Hu, Koren and Volinsky 2008 have the same sum without biases.) K features, M items, B blocks of this rank's
users (`cofi_dist.sharding.reduction_tree`). A Gram matrix is kept in the order (features, 1, bias) of its own
side, which is what the other side's rows (features, bias, 1) are multiplied by.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cofi_dist.cost.sides import sides_of
from cofi_dist.factors import Factors
from cofi_dist.kernels.block_sums import BlockSums, ordered_row_sums


@dataclass(frozen=True)
class UnknownPairs:
    """Draw the scores of unknown pairs to 0, with a weight above 0.

    Attributes:
        weight: a0.
        sums: sums over the rows of the factors.
    """

    weight: float
    sums: BlockSums

    def gram_of_users(self, factors: Factors) -> Tensor:
        """Return G_W of each block of this rank's users, (B, K + 2, K + 2); in float64, except on mps."""
        return self.sums.gram_over_users(sides_of(factors)[0])

    def gram_of_items(self, factors: Factors) -> Tensor:
        """Return G_X, (K + 2, K + 2); in float64, except on mps."""
        return self.sums.gram_over_items(sides_of(factors)[1])

    def value(self, gram_W: Tensor, gram_X: Tensor) -> Tensor:
        """Return a0/2 sum s^2 over all pairs of the users of each Gram matrix, (n,).

        Args:
            gram_W: of n groups of users, (n, K + 2, K + 2).
            gram_X: (K + 2, K + 2).
        """
        # the users' 1 meets the items' bias, and the other way round
        K = len(gram_X) - 2
        crossed = torch.tensor([*range(K), K + 1, K], device=gram_X.device)
        matched = gram_X[crossed][:, crossed]
        return self.weight / 2 * ordered_row_sums((gram_W * matched).flatten(1))

    def scaled(self, gram: Tensor, factors: Factors) -> Tensor:
        """Return a0 times Gram matrices in the type of the factors, to multiply rows by."""
        return (self.weight * gram).to(factors.X.dtype)
