"""Average the products W X^T of many draws, and keep K features of the average.

The average of n products has up to n K features. After each draw, only the K of the largest singular values
are kept, which leaves the smallest squares over all pairs (Eckart and Young, 1936). What is dropped is mostly
the chance of single draws. K features, U users of this rank, M items; C = 2 K columns of both together.
"""

from collections.abc import Generator

import torch
from torch import Tensor

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import accumulation_dtype
from cofi_dist.optim.base import PendingSum

# Eigenvalues below this part of the largest one are rounding errors of float64 sums.
LEAST_EIGENVALUE = 1e-12


def add_draw(
    mean: Factors, draw: Factors, number: int, regulariser: Regulariser
) -> Generator[PendingSum, None, None]:
    """Make a mean of draws that of one more; yield what is to be summed over the ranks.

    Features are those of the singular vectors, in the sizes with the lowest regulariser. If that weighs all
    rows alike, no other W and X with this product have a lower one.

    Args:
        mean: of the draws before; changed in place. Its numbers do not matter if there are none before.
        draw: the next one.
        number: how many draws there are with it.
        regulariser: of J.
    """
    for name, bias in mean.biases().items():
        bias.lerp_(draw.by_name[name], 1 / number)
    dtype = accumulation_dtype(mean.X)
    A = torch.cat([mean.W * (1 - 1 / number), draw.W / number], 1).to(dtype)  # A B^T is the new mean
    B = torch.cat([mean.X, draw.X], 1).to(dtype)
    of_users = _grams(A, regulariser.scale_W)[None]
    yield PendingSum(of_users)
    to_W, to_X = _largest_products(of_users[0], _grams(B, regulariser.scale_X), mean.X.shape[1])
    mean.W.copy_(A @ to_W.to(A))
    mean.X.copy_(B @ to_X.to(B))


def _grams(rows: Tensor, scale: Tensor | None) -> Tensor:
    """Return the Gram matrix of all columns, and that of rows weighed as the regulariser does: (2, C, C)."""
    gram = rows.T @ rows
    return torch.stack([gram, gram if scale is None else rows.T @ (scale.to(rows) * rows)])


def _largest_products(of_users: Tensor, of_items: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """Return what makes W of A, and X of B, such that W X^T is A B^T without its smallest singular values.

    Args:
        of_users: the `_grams` of A, summed over all users, (2, C, C).
        of_items: those of B.
        K: how many singular values are kept.

    Returns:
        Two matrices, (C, K) float64, on the CPU.
    """
    (gram_A, scaled_A), (gram_B, scaled_B) = of_users.cpu().double(), of_items.cpu().double()
    root_A, inverse_A = _root(gram_A)
    root_B, inverse_B = _root(gram_B)
    left, values, right = torch.linalg.svd(root_A @ root_B.T)
    size = values[:K].sqrt()
    to_W, to_X = inverse_A @ left[:, :K] * size, inverse_B @ right[:K].T * size
    # sum n_j^p w_jk^2 and sum n_i^p x_ik^2 have their lowest sum where they are equal
    squares = [(to * (scaled @ to)).sum(0) for to, scaled in ((to_W, scaled_A), (to_X, scaled_B))]
    has_both = (squares[0] > 0) & (squares[1] > 0)
    balance = torch.where(has_both, squares[0] / squares[1], 1).pow(0.25)
    return to_W / balance, to_X * balance


def _root(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return R with R^T R = gram, and its pseudo-inverse."""
    values, vectors = torch.linalg.eigh(gram)
    root = values.clamp(min=0).sqrt()
    inverse = torch.where(values > LEAST_EIGENVALUE * values[-1], 1 / root, 0)
    return root[:, None] * vectors.T, vectors * inverse
