"""Small problems, and slow answers to them, in float64, by the formulas alone."""

import numpy as np
import torch
from torch import Tensor

from cofi_dist.cost import ErrorTerm
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import RatingKernels, RidgeTerm
from cofi_dist.sharding.ranges import UserRange


def random_ratings(num_users: int, num_items: int, num_ratings: int, seed: int = 0) -> Ratings:
    """Different cells of the matrix, in user order, with normal values."""
    rng = np.random.default_rng(seed)
    cells = np.sort(rng.choice(num_users * num_items, num_ratings, replace=False))
    user, item = (cells // num_items).astype(np.int32), (cells % num_items).astype(np.int32)
    return Ratings(user, item, rng.standard_normal(num_ratings))


def shard_of(ratings: Ratings, users: UserRange, num_items: int) -> UserShard:
    """The part of `ratings` that belongs to these users."""
    mine = (ratings.user >= users.start) & (ratings.user < users.stop)
    cut = Ratings(ratings.user[mine] - np.int32(users.start), ratings.item[mine], ratings.value[mine])
    return UserShard.single_block(users, num_items, cut)


def sparse_cost(shard: UserShard, dtype: torch.dtype = torch.float64) -> SparseCost:
    """As it is on a CPU."""
    return SparseCost(build_rating_matrix(shard, torch.device("cpu"), dtype))


def random_factors(
    num_items: int,
    num_users: int,
    num_features: int,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    *,
    item_bias: bool = False,
) -> Factors:
    """Normal X, W and b, and c where it is asked for."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    X, W, b = draw(num_items, num_features), draw(num_users, num_features), draw(1, num_users)
    return Factors(X, W, b, draw(1, num_items) if item_bias else None)


def ridge_of_rows(
    kernels: RatingKernels,
    weight: float,
    *,
    weight_b: float = 0.2,
    has_bias: bool = True,
    gram: Tensor | None = None,
) -> RidgeTerm:
    """The regulariser of rows that all weigh the same, and whose ratings are all on this rank."""
    return RidgeTerm(
        weight=torch.full_like(kernels.counts, weight),
        weight_b=weight_b,
        has_bias=has_bias,
        counts=kernels.counts,
        curvature=kernels.curvature,
        total_curvature=float(kernels.curvature.sum()),
        gram=gram,
    )


def slice_factors(factors: Factors, users: UserRange) -> Factors:
    """Copies: all of X and c, these users' W and b."""
    rows = slice(users.start, users.stop)
    c = None if factors.c is None else factors.c.clone()
    return Factors(factors.X.clone(), factors.W[rows].clone(), factors.b[:, rows].clone(), c)


def error_term_reference(factors: Factors, ratings: Ratings) -> tuple[float, Tensor, Tensor, Tensor]:
    """Half the squared error and dX, dW, db, cell by cell."""
    X, W, b = factors.X.double(), factors.W.double(), factors.b.double()
    value, dX, dW, db = 0.0, torch.zeros_like(X), torch.zeros_like(W), torch.zeros_like(b)
    for j, i, y in zip(ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist(), strict=True):
        err = error_reference(factors, i, j, y)
        value += err * err / 2
        dX[i] += err * W[j]
        dW[j] += err * X[i]
        db[0, j] += err
    return value, dX, dW, db


def dc_reference(factors: Factors, ratings: Ratings) -> Tensor:
    """The gradient by c, cell by cell."""
    dc = torch.zeros(1, len(factors.X), dtype=torch.float64)
    for j, i, y in zip(ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist(), strict=True):
        dc[0, i] += error_reference(factors, i, j, y)
    return dc


def error_reference(factors: Factors, item: int, user: int, value: float) -> float:
    """w_j . x_i + b_j + c_i - y_ij."""
    x, w, b = factors.X[item].double(), factors.W[user].double(), factors.b[0, user].double()
    c = 0.0 if factors.c is None else float(factors.c[0, item])
    return float(w @ x + b) + c - value


def gradients_of(error: ErrorTerm, regulariser: Regulariser, factors: Factors) -> dict[str, Tensor]:
    """Of the whole of J, by the factors' letters; `error` is that of all ranks."""
    found = {"X": error.dX[0].clone(), "W": error.dW.clone(), "b": error.db.clone()}
    if error.dc is not None:
        found["c"] = error.dc[0].clone()
    for letter, gradient in found.items():
        regulariser.add_gradient(letter, factors.by_name[letter], gradient)
    return found


def close(got: Tensor, want: Tensor, rtol: float = 1e-10) -> None:
    """Equal but for rounding, against the largest entry of the two."""
    scale = max(float(want.abs().max()) if want.numel() else 0.0, 1.0)
    torch.testing.assert_close(got.double(), want.double(), rtol=0.0, atol=rtol * scale)
