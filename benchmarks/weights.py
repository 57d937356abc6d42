"""Ratings with weights: cmfrec's minimum is one of ours.

    python -m benchmarks.weights [--features 20] [--lambda 2]

cmfrec (the extra `bench`) fits the ratings with a weight each, by Cholesky in float64. It tells no
cost. But it solves the users last, so if its objective is ours, solving the users once more for its items
lowers our J by nothing. If the weights meant something else, it would: the last line shows by how much, with
J for weights of 1.
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.cmf import fit
from benchmarks.epoch import CPU, load
from benchmarks.machine import machine
from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sides import sides_of
from cofi_dist.cost.sparse import build_rating_matrix, half_squared_error
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.optim.cholesky import solve_by_cholesky
from tests.support.problems import ridge_of_rows


def cost(ratings: RatingMatrix, factors: Factors, lambda_: float) -> float:
    """J by ours."""
    regulariser = Regulariser(lambda_)
    squares = tuple(part.sum() for part in regulariser.user_squares(factors, ratings.sums))
    penalty = regulariser.value((squares[0], squares[1]), regulariser.item_squares(factors, ratings.sums))
    return float(half_squared_error(ratings, factors).sum() + penalty)


def excess_over_best_users(shard: UserShard, factors: Factors, lambda_: float) -> tuple[float, float]:
    """J, and by how much of it solving for the users once more lowers it."""
    ratings = build_rating_matrix(shard, CPU, torch.float64, tiled=False)
    J, of_users = cost(ratings, factors, lambda_), ratings.by_user
    ridge = ridge_of_rows(of_users, lambda_, weight_b=0.0)
    users, items = sides_of(factors)
    for _ in solve_by_cholesky(of_users, users, items, ridge, is_local=True):
        raise AssertionError("one process has nothing to sum")
    return J, 1 - cost(ratings, factors, lambda_) / J


def weighted(shard: UserShard, weight: NDArray[np.float64] | None) -> UserShard:
    """The same ratings with other weights."""
    return replace(shard, ratings=replace(shard.ratings, weight=weight))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--lambda", type=float, default=2.0, dest="lambda_")
    args = parser.parse_args()
    name, shard = load()
    weight = np.random.default_rng(0).uniform(0.5, 3.0, len(shard.ratings))
    print(f"{machine()}; {name}, weights between 0.5 and 3, {args.features} features")
    _, found = fit(
        weighted(shard, weight), args.features, args.lambda_, 10, seed=1, threads=1, cg=False, wide=True
    )
    for kind, given in (("the weights", weight), ("weights of 1", None)):
        factors = Factors(*(factor.clone() for factor in found.by_name.values()))
        J, excess = excess_over_best_users(weighted(shard, given), factors, args.lambda_)
        print(f"J with {kind}: {J:.9g}; solving for the users once more lowers it by {excess:.1e} of itself")
        if given is not None and excess > 1e-5:
            raise SystemExit("cmfrec's objective with weights is another one than ours")


if __name__ == "__main__":
    main()
