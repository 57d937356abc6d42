"""Validate during training: judge the factors by held-out ratings, every few epochs."""

from typing import Protocol

import numpy as np

from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import Reducer
from cofi_dist.errors import ConfigError
from cofi_dist.factors import Factors
from cofi_dist.ranking.users import default_sample, is_sampled
from cofi_dist.training.metrics import Accuracy, Criterion
from cofi_dist.training.prediction_errors import PredictionErrors
from cofi_dist.training.problem import Problem
from cofi_dist.training.ranked_lists import ItemFacts, RankedLists
from cofi_dist.words import counted


class Judge(Protocol):
    """Measure the factors on the held-out ratings of all ranks."""

    def measure(self, factors: Factors, reducer: Reducer) -> dict[str, float]:
        """Return the figures that the criterion names. Collective: all ranks call it, all get the same."""
        ...


class Validation:
    """Say when the factors are judged, by which figure, and when that ends the training.

    Args:
        judge: measures that figure, and perhaps others.
        criterion: says which figure decides.
        every: epochs from one validation to the next.
        patience: validations without a better figure after which training stops; None for never.
        notes: lines for the log about what is measured.
    """

    def __init__(
        self,
        judge: Judge,
        criterion: Criterion | None = None,
        *,
        every: int,
        patience: int | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.criterion, self.patience, self.notes = criterion or Criterion(), patience, notes
        self._judge, self._every = judge, every

    def is_due(self, epoch: int) -> bool:
        """Return whether the factors are validated before this epoch's step."""
        return epoch % self._every == 0

    def accuracy(self, factors: Factors, reducer: Reducer) -> Accuracy:
        """Return the accuracy of the factors. Collective: all ranks call it, all get the same.

        Args:
            factors: X, c if there is one, and this rank's W and b.
            reducer: sums over the users of all ranks.
        """
        return Accuracy(self._judge.measure(factors, reducer), self.criterion)


def build_validation(problem: Problem, shard: UserShard) -> Validation | None:
    """Load this rank's held-out ratings, if the config asks for validation.

    Of the shard, only its training items are kept, and only if lists are judged.

    Collective: all ranks call it.

    Raises:
        ConfigError: there is no list to judge.
    """
    settings, source = problem.config.validation, problem.source
    if settings.every is None:
        return None
    held_out = source.load(problem.users, "validation")
    judge: Judge
    if settings.ranks:
        criterion = _list_criterion(problem)
        judge = _ranked_lists(problem, shard, held_out, criterion)
    else:
        criterion = Criterion(settings.metric)
        blocks = problem.partition.local_blocks(problem.rank)
        judge = PredictionErrors(
            held_out, problem.item_offsets, source.scale, problem.device, blocks, problem.item_pass
        )
    return Validation(
        judge,
        criterion,
        every=settings.every,
        patience=settings.patience,
        notes=_sample_notes(problem, criterion),
    )


def _list_criterion(problem: Problem) -> Criterion:
    """Return by which figure lists are judged, and the lists of how many users."""
    settings, source = problem.config.validation, problem.source
    users = settings.users or default_sample(source.num_users, source.num_items)
    is_sample = users is not None and users < source.num_users
    return Criterion(settings.metric, settings.list_length, users if is_sample else None)


def _ranked_lists(problem: Problem, shard: UserShard, held_out: Ratings, criterion: Criterion) -> RankedLists:
    assert criterion.k is not None
    rows = np.arange(problem.users.start, problem.users.stop)
    judge = RankedLists(
        held_out,
        shard,
        ItemFacts(problem.item_sums, problem.item_offsets),
        criterion.metric,
        criterion.k,
        is_sampled(rows, problem.source.num_users, criterion.users),
        problem.item_pass,
    )
    if not judge.num_judged(problem.reducer):
        of_sample = "" if criterion.users is None else " of the sample"
        raise ConfigError(
            f"validation.metric: there is no list to judge: no user{of_sample} has a validation rating of an"
            " item that was not trained on; set a higher validation.users, or hold out more by"
            " data.validation",
            shared=True,
        )
    return judge


def _sample_notes(problem: Problem, criterion: Criterion) -> tuple[str, ...]:
    """Return a line for the log if the lists of a sample of the users are judged."""
    if criterion.users is None:
        return ()
    num_users = problem.source.num_users
    chosen = int(is_sampled(np.arange(num_users), num_users, criterion.users).sum())
    same = f"evaluate --part validation -k {criterion.k} --users {criterion.users}"
    return (
        f"validation judges the lists of {chosen:,} of {counted(num_users, 'user')}, always the same ones;"
        f" {same} judges the same",
    )
