"""Split the score of an item for a user into what each of the user's own ratings contributes.

With X and c fixed, the w and b of a user are linear in the user's ratings (`cofi_dist.model.fold_in`):

    (w, b) = A^-1 sum over the rated j of c_j (y_j - c_j) z_j  +  a0 A^-1 (sum over the others of -c_j z_j)

where z = (x, 1). The score of item i is z_i . (w, b) + offset_i, so it is a sum over the ratings, exactly.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.errors import RunError
from cofi_dist.model.arguments import find_row
from cofi_dist.model.fold_in import (
    FoldedUser,
    NormalSystem,
    UserObjective,
    solve_symmetric,
    stacked_system,
)
from cofi_dist.model.run_ratings import RunRatings, require_same_rows
from cofi_dist.model.scoring import Scorer
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.top_k import pair_scores
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.words import counted

# N ratings or events of the user to train on, Z entries of z.


@dataclass(frozen=True)
class Explanation:
    """Hold what the score of an item for a user is made of.

    Attributes:
        ratings: columns `item`, `value` (the rating, or the strength of the event) and `contribution`; the
            largest contribution, of either sign, first. Only ratings that were trained on are there.
        offset: what the item scores for everybody: its mean and its bias, as far as the model has them.
        unrated: what the items contribute that the user has not rated; 0 without `train.unknown_weight`.
        trained_score: the score by the user's trained w and b, which orders the lists; or by those of a
            folded-in user, which is `score` up to rounding.
    """

    ratings: pl.DataFrame
    offset: float
    unrated: float
    trained_score: float

    @property
    def score(self) -> float:
        """Return the sum of all contributions, which is the score that `fold_in` gives the item."""
        return float(self.ratings["contribution"].sum()) + self.unrated + self.offset

    def __repr__(self) -> str:
        return (
            f"Explanation(score {self.score:.4g} of {counted(len(self.ratings), 'rating')};"
            f" {self.trained_score:.4g} as trained)"
        )


def explain(
    scorer: Scorer, objective: UserObjective, user: int | str, item: int | str, rated: RunRatings
) -> Explanation:
    """Return what the score of an item for a user is made of; see `Model.explain`."""
    require_same_rows(rated, scorer.users, scorer.items)
    user_row, item_row = find_row(scorer.users, user, "user"), find_row(scorer.items, item, "item")
    own = rated.load(UserRange(user_row, user_row + 1))
    if not len(own):
        raise RunError(f"user {user} has no training {scorer.noun}s, so none of theirs explains a score")
    items, values = own.item.astype(np.int64), own.value.astype(np.float64)
    weights = objective.weights(values) if own.weight is None else own.weight.astype(np.float64)
    w, b = scorer.user_factors(np.array([user_row]))
    return _explained(scorer, objective, item_row, (items, values, weights), w, b)


def explain_folded(
    scorer: Scorer, objective: UserObjective, user: FoldedUser, item: int | str
) -> Explanation:
    """Return what the score of an item for a folded-in user is made of; see `Model.explain`."""
    row = find_row(scorer.items, item, "item")
    own = user.rated, user.values, objective.weights(user.values)
    return _explained(scorer, objective, row, own, user.w[None], np.array([user.b]))


# Rows of items, their values, and weights, or None if all are 1; (N,) each.
_Own = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64] | None]


def _explained(
    scorer: Scorer,
    objective: UserObjective,
    item: int,
    own: _Own,
    w: NDArray[np.float64],
    b: NDArray[np.float64],
) -> Explanation:
    """Return what the score of an item is made of for a user with these ratings, w, (1, K), and b, (1,)."""
    items, values, _ = own
    split = _split_with_unknown if objective.train.unknown_weight else _split_known
    contribution, unrated = split(scorer, objective, item, own)
    order = np.argsort(-np.abs(contribution), kind="stable")
    columns = {"item": scorer.items.raw[items], "value": values, "contribution": contribution}
    pair = UserItemPairs(np.zeros(1, np.int64), np.array([item]))
    return Explanation(
        ratings=pl.DataFrame(columns)[order],
        offset=float(scorer.offset[item]),
        unrated=unrated,
        trained_score=float(pair_scores(scorer.X, scorer.offset, w, b, pair)[0]),
    )


def _split_known(
    scorer: Scorer, objective: UserObjective, item: int, own: _Own
) -> tuple[NDArray[np.float64], float]:
    """Return each rating's contribution, (N,), and that of the others, which a model has that ignores none.

    v = S^+ target, so z . v = (S^+^T z) . target: one least-squares problem for all of the ratings.
    """
    stacked, target = stacked_system(scorer, objective, *own)
    influence = np.linalg.lstsq(stacked.T, _z_of(scorer, item, stacked.shape[1]), rcond=None)[0]
    return (influence * target)[: len(own[0])], 0.0


def _split_with_unknown(
    scorer: Scorer, objective: UserObjective, item: int, own: _Own
) -> tuple[NDArray[np.float64], float]:
    """Return each rating's contribution, (N,), and that of the items that are not rated."""
    system = NormalSystem.build(scorer, objective, *own)
    size = len(system.normal)
    influence = solve_symmetric(system.normal, _z_of(scorer, item, size))
    of_others = system.z.T @ system.c_N - objective.gram[:size, -1]
    return (system.z @ influence) * system.pull_N, objective.train.unknown_weight * float(
        of_others @ influence
    )


def _z_of(scorer: Scorer, item: int, size: int) -> NDArray[np.float64]:
    """Return (x, 1) of an item, or x alone if users have no bias."""
    return np.append(scorer.X[item], 1.0)[:size]
