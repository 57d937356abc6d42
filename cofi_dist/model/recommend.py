"""Recommend the items that users would rate highest, and find the items most like one."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from cofi_dist.errors import RunError
from cofi_dist.model.arguments import Ids, as_ids, find_row, require_whole_number
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.run_ratings import RunRatings
from cofi_dist.model.scoring import Scorer, user_batches
from cofi_dist.ranking.top_k import TopK, top_k


def recommend(
    scorer: Scorer, user: int | str | FoldedUser, k: int, exclude: Ids, min_ratings: int
) -> pl.DataFrame:
    """Return the k best items for one user; see `Model.recommend`."""
    require_whole_number("k", k)
    is_rare = _is_rare(scorer, min_ratings)
    excluded = scorer.items.find(as_ids(exclude))
    if isinstance(user, FoldedUser):
        w, b = user.w[None], torch.tensor([user.b], dtype=torch.float64)
        excluded = np.concatenate([excluded, user.rated])
    else:
        w, b = scorer.user_factors(np.array([find_row(scorer.users, user, "user")]))
    scores = scorer.score_items(w, b)
    scores[0, excluded[excluded >= 0]] = -np.inf
    scores[0, is_rare] = -np.inf
    return _table(scorer, top_k(scores, k)).drop("user")


def recommend_all(
    scorer: Scorer, k: int, rated: RunRatings | None, users_at_once: int | None, min_ratings: int
) -> Iterator[pl.DataFrame]:
    """Yield the k best items of every user, in batches of users; see `Model.recommend_all`."""
    require_whole_number("k", k)
    is_rare = _is_rare(scorer, min_ratings)
    for users in user_batches(len(scorer.users), len(scorer.items), users_at_once):
        rows = np.arange(users.start, users.stop)
        scores = scorer.score_items(*scorer.user_factors(rows))
        if rated is not None:
            scores[rated.rated_pairs(users)] = -np.inf
        scores[:, is_rare] = -np.inf
        table = _table(scorer, top_k(scores, k))
        yield table.with_columns(user=scorer.users.raw[rows[table["user"]]])


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
