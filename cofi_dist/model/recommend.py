"""Recommend the items that users would rate highest, and find the items most like one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from cofi_dist.errors import DataError, RunError
from cofi_dist.model.arguments import Ids, as_ids, find_row, find_rows, is_one_id, require_whole_number
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.run_ratings import RunRatings, require_same_rows
from cofi_dist.model.scoring import RowIndices, Scorer, user_batches
from cofi_dist.ranking.top_k import TopK, top_k
from cofi_dist.ranking.users import batch_size


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
    if isinstance(users, FoldedUser):
        is_left_out[users.rated] = True
        scores = scorer.score_items(users.w[None], torch.tensor([users.b], dtype=torch.float64))
        scores[:, is_left_out] = -np.inf
        return _table(scorer, top_k(scores, k)).drop("user")
    if is_one_id(users):
        rows = np.array([find_row(scorer.users, users, "user")])
        return _best_of(scorer, rows, k, rated, is_left_out).drop("user")
    rows = find_rows(scorer.users, users, "user")
    _refuse_twice(scorer, rows)
    step = batch_size(len(scorer.items))
    # of an empty list, the one batch without users has the columns
    batches = [rows[start : start + step] for start in range(0, max(len(rows), 1), step)]
    return pl.concat(_best_of(scorer, batch, k, rated, is_left_out) for batch in batches)


def recommend_all(
    scorer: Scorer, k: int, rated: RunRatings | None, users_at_once: int | None, min_ratings: int
) -> Iterator[pl.DataFrame]:
    """Yield the k best items of every user, in batches of users; see `Model.recommend_all`."""
    require_whole_number("k", k)
    rated = require_same_rows(rated, scorer.users, scorer.items)
    is_rare = _is_rare(scorer, min_ratings)
    for users in user_batches(len(scorer.users), len(scorer.items), users_at_once):
        yield _best_of(scorer, np.arange(users.start, users.stop), k, rated, is_rare)


def _best_of(
    scorer: Scorer,
    rows: RowIndices,
    k: int,
    rated: RunRatings | None,
    is_left_out: NDArray[np.bool_],
) -> pl.DataFrame:
    """Return the k best items of the users of these rows of W, in their order.

    Args:
        scorer: of the model.
        rows: of the users, few enough to be scored at once.
        k: number of items.
        rated: all that a user has rated is left out.
        is_left_out: whether an item is left out for all users, (num_items,).
    """
    scores = scorer.score_items(*scorer.user_factors(rows))
    if rated is not None:
        scores[rated.pairs_of(rows)] = -np.inf
    scores[:, is_left_out] = -np.inf
    table = _table(scorer, top_k(scores, k))
    return table.with_columns(user=scorer.users.raw[rows[table["user"]]])


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
    X = scorer.X.numpy()
    norm = np.linalg.norm(X, axis=1)
    has_features = norm > 0  # an item without training ratings has none
    if not has_features[row]:
        what = "events" if scorer.is_implicit else "ratings"
        raise RunError(f"item {item} has no training {what}, so the model knows no features to compare")
    is_candidate = has_features & ~is_rare
    cosine: NDArray[np.float64] = X @ X[row] / np.where(is_candidate, norm * norm[row], 1.0)
    cosine[~is_candidate] = -np.inf
    cosine[row] = -np.inf
    best = top_k(cosine[None], k)
    return pl.DataFrame({"rank": best.rank, "item": scorer.items.raw[best.item], "cosine": best.score})


def _is_rare(scorer: Scorer, min_ratings: int) -> NDArray[np.bool_]:
    """Tell which items have fewer than `min_ratings` training ratings, (num_items,)."""
    require_whole_number("min_ratings", min_ratings, least=0)
    is_rare: NDArray[np.bool_] = scorer.item_counts.numpy() < min_ratings
    return is_rare


def _table(scorer: Scorer, best: TopK) -> pl.DataFrame:
    lists = {"user": best.user, "rank": best.rank, "item": scorer.items.raw[best.item]}
    if not scorer.is_implicit:
        lists["prediction"] = scorer.clip(best.score)
    return pl.DataFrame({**lists, "score": best.score})
