"""How well a model predicts held-out ratings and ranks held-out items, in blocks of users.

The blocks are the same on any number of ranks, each of which takes a run of them; their sums are
added up in order, so that the figures are the same to the last bit.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.data.ratings import Ratings
from cofi_dist.errors import DataError
from cofi_dist.model.held_out import HeldOut
from cofi_dist.model.predict import predict_rows
from cofi_dist.model.ranking import METRICS, Cells, ranking_metrics
from cofi_dist.model.run_ratings import RunRatings
from cofi_dist.model.scoring import Rows, blocks, require_whole
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model.model import Model

SUMS = (
    *("ratings", "squared", "absolute", "users", "rmse_by_user", "mae_by_user"),
    *("unseen_users", "unseen_ratings", "ranked_users", "unranked_users", "ratings_seen_in_training"),
    *METRICS,
)

# Attributes that have another name in the files of `evaluate --output`, which other programs read.
KEYS_IN_FILES = {"ratings_seen_in_training": "trained_ratings", "users_without_relevant": "users_without"}


class Ranks(Protocol):
    """The part of a communicator that an evaluation needs."""

    rank: int
    world_size: int

    def sum_(self, *tensors: Tensor) -> None: ...


class OneRank:
    """The only rank."""

    rank = 0
    world_size = 1

    def sum_(self, *tensors: Tensor) -> None:
        """Nothing to add."""


@dataclass(frozen=True)
class Ranking:
    """Averages over the users with relevant items; `cofi_dist.model.ranking` defines each.

    Attributes:
        k: length of a list.
        relevant: the rating from which a held-out item is relevant; None: all of them are.
        users: with relevant items.
        users_without_relevant: of held-out ratings, but none relevant; in no average.
        precision, recall, ndcg, map, hit_rate: None where no user has relevant items.
    """

    k: int
    relevant: float | None
    users: int
    users_without_relevant: int
    precision: float | None
    recall: float | None
    ndcg: float | None
    map: float | None
    hit_rate: float | None


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        ratings, users: how many were held out, and of how many users.
        rmse, mae: over all ratings, on their scale.
        rmse_by_user, mae_by_user: each user's own, averaged over users.
        unseen_users, unseen_items: those without training ratings.
        unseen_ratings: of such a user or item.
        ratings_seen_in_training: held-out ratings of pairs that are in the training ratings too.
        ranking: None where the training ratings, which lists leave out, are not at hand.
    """

    ratings: int
    users: int
    rmse: float
    mae: float
    rmse_by_user: float
    mae_by_user: float
    unseen_users: int
    unseen_items: int
    unseen_ratings: int
    ratings_seen_in_training: int
    ranking: Ranking | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --output` writes them."""
        return asdict(
            self, dict_factory=lambda pairs: {KEYS_IN_FILES.get(name, name): v for name, v in pairs}
        )

    def __repr__(self) -> str:
        ranked = "no ranking"
        if self.ranking is not None:
            averages = {name: getattr(self.ranking, name) for name in METRICS}
            shown = (f"{name} {'-' if a is None else f'{a:.4f}'}" for name, a in averages.items())
            ranked = f"k {self.ranking.k}: {', '.join(shown)}"
        return (
            f"Evaluation({counted(self.ratings, 'rating')} by {counted(self.users, 'user')};"
            f" rmse {self.rmse:.4f}, mae {self.mae:.4f}; {ranked})"
        )


def evaluate(
    model: "Model",
    held_out: HeldOut,
    rated: RunRatings | None,
    *,
    k: int = 10,
    relevant: float | None = None,
    comm: Ranks | None = None,
    users_at_once: int | None = None,
    tell: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """RMSE, MAE and ranking metrics; collective: all ranks call it, and all get the result.

    A rating of a user or an item that the model does not know counts for RMSE and MAE, with the
    fallback of `predict_rows`, and takes no part in ranking.

    Args:
        model: to be judged.
        held_out: the same on all ranks.
        rated: training ratings, left out of the lists; None: no ranking.
        k: length of a list.
        relevant: the rating from which an item is relevant; None: every held-out item is.
        comm: the ranks, of which each takes part of the blocks.
        users_at_once: users in a block, if not as many as memory allows.
        tell: is told after each block how many users all ranks have done meanwhile, of how many.

    Raises:
        DataError: k is not positive, or nothing is held out.
    """
    _require(k, relevant)
    comm = comm or OneRank()
    todo = blocks(held_out.num_users, held_out.num_items, users_at_once)
    first, stop = (len(todo) * r // comm.world_size for r in (comm.rank, comm.rank + 1))
    # a row for each block, of which one rank has more than zeros: adding up rows rounds nothing
    sums, judged_M = np.zeros((len(todo), len(SUMS))), np.zeros(held_out.num_items)
    for row, users in enumerate(todo[first:stop], first):
        block = _Block(model, users, held_out.load(users), _training(model, rated, users))
        found = block.errors()
        if rated is not None:
            found |= block.ranking(held_out.num_items, k, relevant)
        sums[row] = [found.get(name, 0.0) for name in SUMS]
        judged_M += np.bincount(block.ratings.item, minlength=held_out.num_items)
        if tell is not None:
            tell(len(users) * comm.world_size, held_out.num_users)  # the other ranks come as far
    comm.sum_(torch.from_numpy(sums), torch.from_numpy(judged_M))
    total = dict(zip(SUMS, sums.sum(0).tolist(), strict=True))
    if not total["ratings"]:
        raise DataError("there are no ratings to evaluate on")
    unseen_items = int(((judged_M > 0) & ~seen(model.item_counts, np.arange(held_out.num_items))).sum())
    return _evaluation(total, unseen_items, None if rated is None else (k, relevant))


def _require(k: int, relevant: float | None) -> None:
    require_whole("k", k)
    if relevant is not None and not math.isfinite(relevant):
        raise DataError(f"relevant is {relevant}; give a rating")


def _training(model: "Model", rated: RunRatings | None, users: UserRange) -> Ratings | None:
    """The training ratings of those of the users that the model knows; None without any data."""
    if rated is None:
        return None
    known = [min(row, len(model.users)) for row in (users.start, users.stop)]
    return rated.load(UserRange(*known))


@dataclass(frozen=True)
class _Block:
    """Held-out and training ratings of a range of users; `user` counts from its start."""

    model: "Model"
    users: UserRange
    ratings: Ratings
    train: Ratings | None

    def errors(self) -> dict[str, float]:
        """Sums over ratings and users, and what the model has not seen."""
        user, item = self.ratings.user.astype(np.int64), self.ratings.item.astype(np.int64)
        err_N = predict_rows(self.model, user + self.users.start, item) - self.ratings.value
        count_U = np.bincount(user, minlength=len(self.users))
        judged_U = count_U > 0
        squared_U = np.bincount(user, err_N**2, minlength=len(self.users))
        absolute_U = np.bincount(user, np.abs(err_N), minlength=len(self.users))
        seen_U = seen(self.model.user_counts, np.arange(self.users.start, self.users.stop))
        return {
            "ratings": len(err_N),
            "squared": squared_U.sum(),
            "absolute": absolute_U.sum(),
            "users": judged_U.sum(),
            "rmse_by_user": np.sqrt(squared_U[judged_U] / count_U[judged_U]).sum(),
            "mae_by_user": (absolute_U[judged_U] / count_U[judged_U]).sum(),
            "unseen_users": (judged_U & ~seen_U).sum(),
            "unseen_ratings": (~seen_U[user] | ~seen(self.model.item_counts, item)).sum(),
        }

    def ranking(self, num_items: int, k: int, relevant: float | None) -> dict[str, float]:
        """Sums of METRICS over the users with relevant items, and how many they are."""
        assert self.train is not None
        user, item = self.ratings.user.astype(np.int64), self.ratings.item.astype(np.int64)
        held, train = (
            Cells(user, item),
            Cells(self.train.user.astype(np.int64), self.train.item.astype(np.int64)),
        )
        trained = held.among(train, num_items)
        wanted = ~trained & (user + self.users.start < len(self.model.users)) & (item < len(self.model.items))
        if relevant is not None:
            wanted &= self.ratings.value >= relevant
        ranked = np.unique(user[wanted])
        place = np.full(len(self.users), -1)
        place[ranked] = np.arange(len(ranked))
        scores = self.model.item_side.scores(*self.model.user_side(ranked + self.users.start))
        masked = Cells(place[train.user], train.item).where(place[train.user] >= 0)
        found = ranking_metrics(scores, Cells(place[user[wanted]], item[wanted]), masked, k)
        return {
            **dict(zip(METRICS, found.sum(axis=0), strict=True)),
            "ranked_users": len(ranked),
            "unranked_users": len(np.unique(user)) - len(ranked),
            "ratings_seen_in_training": trained.sum(),
        }


def _evaluation(
    total: dict[str, float], unseen_items: int, asked: tuple[int, float | None] | None
) -> Evaluation:
    count = {name: round(total[name]) for name in SUMS[:11]}
    ranking = None
    if asked is not None:
        of = count["ranked_users"]
        averages = (total[name] / of if of else None for name in METRICS)
        ranking = Ranking(*asked, of, count["unranked_users"], *averages)
    return Evaluation(
        ratings=count["ratings"],
        users=count["users"],
        rmse=float(np.sqrt(total["squared"] / total["ratings"])),
        mae=total["absolute"] / total["ratings"],
        rmse_by_user=total["rmse_by_user"] / total["users"],
        mae_by_user=total["mae_by_user"] / total["users"],
        unseen_users=count["unseen_users"],
        unseen_items=unseen_items,
        unseen_ratings=count["unseen_ratings"],
        ratings_seen_in_training=count["ratings_seen_in_training"],
        ranking=ranking,
    )


def seen(counts: Tensor, row: Rows) -> NDArray[np.bool_]:
    """Tell which users, or items, have training ratings, by their numbers of them."""
    known = (row >= 0) & (row < len(counts))
    return known & (counts.numpy()[np.where(known, row, 0)] > 0)
