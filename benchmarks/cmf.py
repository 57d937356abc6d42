"""cmfrec's ALS on our objective, for benchmarks.als and benchmarks.large."""

import time

import numpy as np
import pandas as pd
import torch
from cmfrec import CMF

from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors


def fit(
    shard: UserShard, features: int, lambda_: float, iterations: int, *, seed: int, threads: int, cg: bool
) -> tuple[float, Factors]:
    """Seconds of the solver, and what came of it; zeros for who has no ratings.

    Its objective is twice J: sum err^2 + lambda (|W|^2 + |X|^2), the users' biases not regularised.
    """
    ratings = shard.ratings
    table = pd.DataFrame({"UserId": ratings.user, "ItemId": ratings.item, "Rating": ratings.value})
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
    )
    start = time.perf_counter()
    model.fit(table)
    took = time.perf_counter() - start
    users, items = np.asarray(model.user_mapping_), np.asarray(model.item_mapping_)
    X, W = torch.zeros(shard.num_items, features), torch.zeros(len(shard.users), features)
    b = torch.zeros(1, len(shard.users))
    W[users], b[0, users] = torch.from_numpy(model.A_), torch.from_numpy(model.user_bias_)
    X[items] = torch.from_numpy(model.B_)
    return took, Factors(X, W, b)
