"""ALS on small random problems, and J by the formula."""

import numpy as np
import torch

from cofi_dist.cost.regulariser import Regulariser
from cofi_dist.cost.sparse import build_rating_matrix
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.factors import Factors
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.optim.als import Als
from cofi_dist.optim.base import run_step
from cofi_dist.optim.whole_items import WholeItems
from cofi_dist.sharding.ranges import UserRange

CPU = torch.device("cpu")


U, M, K, N = 23, 17, 5, 150


REGULARISER = Regulariser(0.7, 0.2)


def drive(als: Als) -> None:
    """One sweep, alone."""
    run_step(als.prepare_step(), SoloComm())


def als_on(
    ratings: Ratings,
    factors: Factors,
    regulariser: Regulariser = REGULARISER,
    *,
    steps: int = 3,
    loops: bool = True,
) -> Als:
    shard = UserShard.single_block(UserRange(0, len(factors.W)), len(factors.X), ratings)
    backend = None if loops else TorchKernels
    cost = build_rating_matrix(shard, CPU, factors.X.dtype, tiled=steps > 0, backend=backend)
    counts = torch.from_numpy(np.bincount(ratings.item, minlength=len(factors.X)))
    halves = WholeItems.build(
        cost, factors, regulariser, item_counts=counts, steps=steps, owns_all_users=True
    )
    return Als(halves, tolerance=0.0)


def cost_of(factors: Factors, ratings: Ratings, regulariser: Regulariser = REGULARISER) -> float:
    """By the formula, in float64."""
    X, W, b = (t.double() for t in (factors.X, factors.W, factors.b[0]))
    c = torch.zeros(len(X), dtype=torch.float64) if factors.c is None else factors.c[0].double()
    i, j = torch.from_numpy(ratings.item).long(), torch.from_numpy(ratings.user).long()
    err = (X[i] * W[j]).sum(1) + b[j] + c[i] - torch.from_numpy(ratings.value)
    sX, sW = (1.0 if s is None else s.double() for s in (regulariser.scale_X, regulariser.scale_W))
    squares = (sX * X.square()).sum() + (sW * W.square()).sum()
    biases = b.square().sum() + c.square().sum()
    return float(err.square().sum() + regulariser.lambda_ * squares + regulariser.lambda_b * biases) / 2
