"""What comes of a run: the whole model, on rank 0."""

import numpy as np
import torch

from cofi_dist.distributed.comm import Comm
from cofi_dist.factors import Factors
from cofi_dist.model import Model, TrainingDataFacts
from cofi_dist.training.problem import Problem


def gather_model(problem: Problem, factors: Factors, comm: Comm, diverged: str) -> Model:
    """The whole model on rank 0; on the others, their own rows of it."""
    counts = [len(users) for users in problem.ranges]
    W = comm.gather_rows_to_rank_zero(factors.W, counts)
    b = comm.gather_rows_to_rank_zero(factors.b[0], counts)[None]
    user_counts = comm.gather_rows_to_rank_zero(
        torch.from_numpy(problem.user_counts.astype(np.float64)), counts
    )
    source, item_sums = problem.source, problem.item_sums
    (lowest, highest), (users, items) = source.scale, source.ids
    c = None if factors.c is None else factors.c.cpu()
    return Model(
        factors=Factors(factors.X.cpu(), W, b, c),
        item_means=torch.from_numpy(problem.item_offsets),
        item_counts=torch.from_numpy(item_sums.count),
        user_counts=user_counts,
        facts=TrainingDataFacts(
            global_mean=item_sums.global_mean,
            lowest=lowest,
            highest=highest,
            fingerprint=problem.fingerprint,
            columns=source.columns,
            diverged=diverged,
        ),
        users=users,
        items=items,
        config=problem.config.with_absolute_paths(),
    )
