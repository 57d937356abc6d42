"""See the factors as the two sides of the ratings."""

from torch import Tensor

from cofi_dist.factors import Factors
from cofi_dist.kernels.base import Side


def sides_of(factors: Factors) -> tuple[Side[Tensor], Side[Tensor]]:
    """Return the factors of the users and those of the items; item biases are zeros if the model has none."""
    return Side(factors.W, factors.b[0]), Side(factors.X, factors.item_bias_or_zeros())
