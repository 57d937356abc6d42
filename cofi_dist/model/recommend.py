"""Recommend the items that users would rate highest, and find the items most like one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.errors import DataError, RunError
from cofi_dist.model.arguments import Ids, as_ids, find_row, find_rows, is_one_id, require_whole_number
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.run_ratings import RunRatings, require_same_rows
from cofi_dist.model.scoring import RowIndices, Scorer, user_batches
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.top_k import TopK

USERS_AT_ONCE = 2**12  # of a list


def recommend(
    scorer: Scorer,
    users: Any,
    k: int,
    exclude: Ids,
    min_ratings: int,
    rated: RunRatings | None = None,
) -> pl.DataFrame:
    """Return the k best items for one user, or for each of a list of users; see `Model.recommend`."""
    require_whole_number("k", k)
    rated = require_same_rows(rated, scorer.users, scorer.items)
    left_out = scorer.items.find(as_ids(exclude))
    is_left_out = _is_rare(scorer, min_ratings)
    is_left_out[left_out[left_out >= 0]] = True
    ranker = _ranker(scorer, is_left_out)
    if isinstance(users, FoldedUser):
        own = UserItemPairs(np.zeros(len(users.rated), np.int64), users.rated)
        best = ranker.best(users.w[None], np.array([users.b]), k, own)
        return _table(scorer, best).drop("user")
    if is_one_id(users):
        rows = np.array([find_row(scorer.users, users, "user")])
        return _best_of(scorer, ranker, rows, k, rated).drop("user")
    rows = find_rows(scorer.users, users, "user")
    _refuse_twice(scorer, rows)
    # of an empty list, the one batch without users has the columns
    batches = [rows[start : start + USERS_AT_ONCE] for start in range(0, max(len(rows), 1), USERS_AT_ONCE)]
    return pl.concat(_best_of(scorer, ranker, batch, k, rated) for batch in batches)


def recommend_all(
    scorer: Scorer, k: int, rated: RunRatings | None, users_at_once: int | None, min_ratings: int
) -> Iterator[pl.DataFrame]:
    """Yield the k best items of every user, in batches of users; see `Model.recommend_all`."""
    require_whole_number("k", k)
    rated = require_same_rows(rated, scorer.users, scorer.items)
    ranker = _ranker(scorer, _is_rare(scorer, min_ratings))
    for users in user_batches(len(scorer.users), len(scorer.items), users_at_once):
        yield _best_of(scorer, ranker, np.arange(users.start, users.stop), k, rated)


def _best_of(
    scorer: Scorer, ranker: Ranker, rows: RowIndices, k: int, rated: RunRatings | None
) -> pl.DataFrame:
    """Return the k best items of the users of these rows of W, in their order.

    Args:
        scorer: of the model.
        ranker: of its items, but those that nobody gets.
        rows: of the users.
        k: number of items.
        rated: all that a user has rated is left out.
    """
    w, b = scorer.user_factors(rows)
    own = UserItemPairs.none() if rated is None else UserItemPairs(*rated.pairs_of(rows))
    table = _table(scorer, ranker.best(w, b, k, own))
    return table.with_columns(user=scorer.users.raw[rows[table["user"]]])


def _ranker(scorer: Scorer, is_left_out: NDArray[np.bool_]) -> Ranker:
    return Ranker(scorer.X, scorer.offset, is_left_out)


def _refuse_twice(scorer: Scorer, rows: RowIndices) -> None:
    """Raise DataError if a row is in the list again."""
    found, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        user = scorer.users.raw[int(found[counts > 1][0])]
        raise DataError(f"user {user} is in the list twice; give each user once, as .unique() does")


def similar_items(scorer: Scorer, item: int | str, k: int, min_ratings: int) -> pl.DataFrame:
    """Return the k items whose features have the largest cosine to this one's; see `Model.similar_items`."""
    require_whole_number("k", k)
    is_rare = _is_rare(scorer, min_ratings)
    row = find_row(scorer.items, item, "item")
    X = scorer.X
    norm = np.linalg.norm(X, axis=1)
    has_features = norm > 0  # an item without training ratings has none
    if not has_features[row]:
        what = "events" if scorer.is_implicit else "ratings"
        raise RunError(f"item {item} has no training {what}, so the model knows no features to compare")
    is_candidate = has_features & ~is_rare
    is_candidate[row] = False
    direction = X / np.where(has_features, norm, 1.0)[:, None]
    ranker = Ranker(direction, np.zeros(len(X)), ~is_candidate)
    best = ranker.best(direction[row][None], np.zeros(1), k, UserItemPairs.none())
    return pl.DataFrame({"rank": best.rank, "item": scorer.items.raw[best.item], "cosine": best.score})


def _is_rare(scorer: Scorer, min_ratings: int) -> NDArray[np.bool_]:
    """Tell which items have fewer than `min_ratings` training ratings, (num_items,)."""
    require_whole_number("min_ratings", min_ratings, least=0)
    is_rare: NDArray[np.bool_] = scorer.item_counts < min_ratings
    return is_rare


def _table(scorer: Scorer, best: TopK) -> pl.DataFrame:
    lists = {"user": best.user, "rank": best.rank, "item": scorer.items.raw[best.item]}
    if not scorer.is_implicit:
        lists["prediction"] = scorer.clip(best.score)
    return pl.DataFrame({**lists, "score": best.score})
