"""Measure how well a model predicts held-out ratings and ranks held-out items, in batches of users.

The batches are the same on any number of ranks, and each rank takes a run of them. Their sums are added
in order, so the figures are the same to the last bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import DataError
from cofi_dist.model.arguments import require_whole_number
from cofi_dist.model.evaluated_batch import COUNTS, PER_USER, Batch, BatchFigures, Lists
from cofi_dist.model.evaluation import Evaluation, Ranking
from cofi_dist.model.held_out import HeldOut
from cofi_dist.model.run_ratings import RunRatings, require_same_rows
from cofi_dist.model.scoring import Scorer, has_training_ratings, user_batches
from cofi_dist.model.user_averages import Average, UserSums, plain_averages
from cofi_dist.ranking.bootstrap import REPLICATES
from cofi_dist.ranking.exposure import Exposure
from cofi_dist.ranking.metrics import METRICS
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.users import batch_size, is_sampled
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.system.threads import in_order, num_threads

# U users of a batch, M items, N held-out ratings of a batch.

# The figures, and the sums that they are made of.
ERROR_FIGURES = {
    "rmse": Average("squared_error", "ratings", np.sqrt),
    "mae": Average("absolute_error", "ratings"),
    **plain_averages(("rmse_by_user", "mae_by_user"), "users"),
}
RANKING_FIGURES = plain_averages((*METRICS, "popularity"), "ranked_users")

# Users are cut into batches of so many, or into this many batches, unless they get too small: every rank and
# thread has some. The cuts depend on neither, and with them the figures are the same on any number of them.
BATCH_USERS, LEAST_BATCHES, SMALL_BATCH_USERS = 1024, 32, 128
# The most users that a batch of a sample covers, so that the ratings loaded at once stay few.
MAX_USERS_LOADED = 2**14


def evaluate(
    scorer: Scorer,
    held_out: HeldOut,
    rated: RunRatings | None,
    *,
    k: int = 10,
    relevant: float | None = None,
    sample: int | None = None,
    comm: Comm | None = None,
    users_at_once: int | None = None,
    on_progress: Callable[[int, int], object] | None = None,
    device: str = "cpu",
) -> Evaluation:
    """Compute RMSE, MAE and ranking metrics. Collective: all ranks call it and get the result.

    A rating of an unknown user or item counts for RMSE and MAE, with the fallback of
    `cofi_dist.ranking.scores`, and is not ranked. A model of events has no RMSE and no MAE.

    Args:
        scorer: of the model.
        held_out: the same on all ranks.
        rated: its training ratings are left out of the lists; None: no ranking.
        k: length of a list.
        relevant: the rating from which an item is relevant; None: every held-out item is.
        sample: about how many users to judge, always the same ones, as validation does; None: all.
        comm: the ranks, each of which takes some of the batches.
        users_at_once: users per batch; by default as many as memory allows.
        on_progress: called after each batch with the number of users done by all ranks, and of all users.
        device: where the lists are made, as `list_device` names it.

    Raises:
        DataError: k or sample is not positive, nothing is held out, or `rated` is of another model.
    """
    _check_arguments(k, relevant, sample)
    rated = require_same_rows(rated, scorer.users, scorer.items)
    comm = comm or SoloComm()
    lists = None if rated is None else Lists(Ranker(scorer.X, scorer.offset, None, device), k, relevant)
    batches = _batches(held_out.num_users, min(k, len(scorer.items)), users_at_once, sample)
    start, stop = (len(batches) * rank // comm.world_size for rank in (comm.rank, comm.rank + 1))
    totals = _Totals.empty(len(batches), held_out.num_items, len(scorer.items))
    judge = partial(_judge, scorer, held_out, rated, lists, sample)
    at_once = num_threads() if lists is None else lists.ranker.batches_at_once
    for number, figures in enumerate(in_order(judge, batches[start:stop], at_once), start):
        totals.add(number, figures)
        if on_progress is not None:
            on_progress(len(batches[number]) * comm.world_size, held_out.num_users)
    found = totals.over_ranks(comm)
    if not found.total["ratings"]:
        raise DataError("there are no ratings to evaluate on" + " by the users of the sample" * bool(sample))
    return _evaluation(found, scorer, totals, sample, lists)


def _evaluation(
    found: UserSums, scorer: Scorer, totals: "_Totals", sample: int | None, lists: Lists | None
) -> Evaluation:
    total, figures = found.total, {} if scorer.is_implicit else ERROR_FIGURES
    return Evaluation(
        ratings=round(total["ratings"]),
        users=round(total["users"]),
        **{name: found.average(figures[name]) if figures else None for name in ERROR_FIGURES},
        unseen_users=round(total["unseen_users"]),
        unseen_items=_count_unseen(totals.num_held_out_M, scorer),
        unseen_ratings=round(total["unseen_ratings"]),
        ratings_seen_in_training=round(total["ratings_seen_in_training"]),
        sample=sample,
        intervals=found.intervals(figures, total["users"]),
        ranking=None if lists is None else _ranking(found, lists, Exposure.of(totals.num_lists_M)),
    )


def _ranking(found: UserSums, lists: Lists, exposure: Exposure | None) -> Ranking:
    users = found.total["ranked_users"]
    return Ranking(
        k=lists.k,
        relevant=lists.relevant,
        users=round(users),
        users_without_relevant=round(found.total["users_without_relevant"]),
        **{name: found.average(of) for name, of in RANKING_FIGURES.items()},
        coverage=None if exposure is None else exposure.coverage,
        gini=None if exposure is None else exposure.gini,
        intervals=found.intervals(RANKING_FIGURES, users),
    )


def _check_arguments(k: int, relevant: float | None, sample: int | None) -> None:
    require_whole_number("k", k)
    if sample is not None:
        require_whole_number("users", sample)
    if relevant is not None and not math.isfinite(relevant):
        raise DataError(f"relevant is {relevant}; give a rating")


def _batches(
    num_users: int, list_length: int, users_at_once: int | None, sample: int | None
) -> list[UserRange]:
    """Cut all users into ranges, with about equally many users to judge in each; on any ranks the same."""
    if users_at_once is None:
        num_judged = min(sample or num_users, num_users)
        users_at_once = min(max(num_judged // LEAST_BATCHES, SMALL_BATCH_USERS), BATCH_USERS)
        users_at_once = min(users_at_once, batch_size(list_length))
        users_at_once = min(users_at_once * num_users // num_judged, MAX_USERS_LOADED)
    return user_batches(num_users, list_length, users_at_once)


def _judge(
    scorer: Scorer,
    held_out: HeldOut,
    rated: RunRatings | None,
    lists: Lists | None,
    sample: int | None,
    users: UserRange,
) -> BatchFigures:
    """Judge by the held-out ratings of users of the sample; lists leave out the training ratings."""
    judged, training, num_users = held_out.load(users), None, len(scorer.users)
    if sample is not None:
        is_chosen = is_sampled(np.arange(users.start, users.stop), num_users, sample)
        judged = judged.masked(is_chosen[judged.user])
    if rated is not None:
        training = rated.load(UserRange(min(users.start, num_users), min(users.stop, num_users)))
    return Batch(scorer, users, judged, training).figures(held_out.num_items, lists)


@dataclass(frozen=True)
class _Totals:
    """Hold what is summed over batches.

    Attributes:
        sums: of COUNTS and PER_USER, a row per batch. It is zero on all ranks but one, so adding the ranks'
            rows rounds nothing.
        replicates: of PER_USER, in each replicate of the users.
        num_held_out_M: held-out ratings of each item.
        num_lists_M: lists that each item of the model is in.
    """

    sums: NDArray[np.float64]
    replicates: NDArray[np.float64]
    num_held_out_M: NDArray[np.float64]
    num_lists_M: NDArray[np.float64]

    @classmethod
    def empty(cls, num_batches: int, num_items: int, num_model_items: int) -> "_Totals":
        num_sums, num_numbers = len(COUNTS) + len(PER_USER), len(PER_USER)
        shapes = (num_batches, num_sums), (REPLICATES, num_numbers), (num_items,), (num_model_items,)
        return cls(*map(np.zeros, shapes))

    def add(self, number: int, figures: BatchFigures) -> None:
        self.sums[number] = figures.sums
        self.replicates[:] += figures.replicates
        np.add.at(self.num_held_out_M, figures.held_out, 1.0)
        np.add.at(self.num_lists_M, figures.listed, 1.0)

    def over_ranks(self, comm: Comm) -> UserSums:
        """Add up the ranks' totals in place, and return the sums over all batches."""
        arrays = (self.sums, self.num_held_out_M, self.num_lists_M, self.replicates)
        comm.sum_arrays_(*arrays)
        total = dict(zip((*COUNTS, *PER_USER), self.sums.sum(axis=0).tolist(), strict=True))
        return UserSums(total, dict(zip(PER_USER, self.replicates.T, strict=True)))


def _count_unseen(num_held_out_M: NDArray[np.float64], scorer: Scorer) -> int:
    """Count the items with held-out ratings, but without training ratings."""
    is_seen_M = has_training_ratings(scorer.item_counts, np.arange(len(num_held_out_M)))
    return int(((num_held_out_M > 0) & ~is_seen_M).sum())
