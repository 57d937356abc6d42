"""cmfrec's ALS on our objective, for benchmarks.als and benchmarks.large."""

import time

import numpy as np
import pandas as pd
import torch
from cmfrec import CMF

from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors


def fit(
    shard: UserShard,
    features: int,
    lambda_: float,
    iterations: int,
    *,
    seed: int,
    threads: int,
    cg: bool,
    wide: bool = False,
) -> tuple[float, Factors]:
    """Seconds of the solver, and what came of it; zeros for who has no ratings.

    Its objective is twice J: sum c err^2 + lambda (|W|^2 + |X|^2), the users' biases not regularised.

    Args:
        shard: the ratings, and their weights c, if they have some.
        features: K.
        lambda_: lambda.
        iterations: sweeps, users last.
        seed: of its start.
        threads: how many.
        cg: by conjugate gradients; else by Cholesky.
        wide: in float64; else in float32.
    """
    ratings = shard.ratings
    table = pd.DataFrame({"UserId": ratings.user, "ItemId": ratings.item, "Rating": ratings.value})
    if ratings.weight is not None:
        table["Weight"] = ratings.weight
    model = CMF(
        k=features,
        lambda_=[0.0, 0.0, lambda_, lambda_, 0.0, 0.0],  # user and item biases, users, items, two unused
        use_cg=cg,
        finalize_chol=False,
        item_bias=False,
        center=False,
        niter=iterations,
        precompute_for_predictions=False,
        random_state=seed,
        nthreads=threads,
        use_float=not wide,
    )
    start = time.perf_counter()
    model.fit(table)
    took = time.perf_counter() - start
    users, items = np.asarray(model.user_mapping_), np.asarray(model.item_mapping_)
    dtype = torch.float64 if wide else torch.float32
    X, W = (torch.zeros(rows, features, dtype=dtype) for rows in (shard.num_items, len(shard.users)))
    b = torch.zeros(1, len(shard.users), dtype=dtype)
    W[users], b[0, users] = torch.from_numpy(model.A_), torch.from_numpy(model.user_bias_)
    X[items] = torch.from_numpy(model.B_)
    return took, Factors(X, W, b)
