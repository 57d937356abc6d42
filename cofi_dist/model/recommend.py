"""The items that users would rate highest, and the items most like one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from cofi_dist.data.ids import IdMap
from cofi_dist.errors import DataError, RunError
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.run_ratings import RunRatings
from cofi_dist.model.scoring import Ids, Rows, Top, as_ids, blocks, require_whole, top
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model.model import Model


def recommend(
    model: "Model", user: int | str | FoldedUser, k: int, exclude: Ids, min_ratings: int
) -> pl.DataFrame:
    """The k best items for one user; see `Model.recommend`."""
    require_whole("k", k)
    rare = _rare(model, min_ratings)
    without = model.items.find(as_ids(exclude))
    if isinstance(user, FoldedUser):
        w, b = user.w, torch.tensor([user.b], dtype=torch.float64)
        without = np.concatenate([without, user.rated])
    else:
        row = require_row(model.users, user, "user")
        (w,), b = model.user_side(np.array([row]))
    scores = model.item_side.scores(w[None], b)
    scores[0, without[without >= 0]] = -np.inf
    scores[0, rare] = -np.inf
    return _table(model, top(scores, k)).drop("user")


def recommend_all(
    model: "Model", k: int, rated: RunRatings | None, users_at_once: int | None, min_ratings: int
) -> Iterator[pl.DataFrame]:
    """The k best items of every user, in blocks of users; see `Model.recommend_all`."""
    require_whole("k", k)
    rare = _rare(model, min_ratings)
    for users in blocks(len(model.users), len(model.items), users_at_once):
        rows = np.arange(users.start, users.stop)
        scores = model.item_side.scores(*model.user_side(rows))
        if rated is not None:
            scores[rated.rated_pairs(users)] = -np.inf
        scores[:, rare] = -np.inf
        table = _table(model, top(scores, k))
        yield table.with_columns(user=model.users.raw[rows[table["user"]]])


def _rare(model: "Model", min_ratings: int) -> NDArray[np.bool_]:
    """Items with fewer training ratings, (num_items,)."""
    require_whole("min_ratings", min_ratings, least=0)
    rare: NDArray[np.bool_] = model.item_counts.numpy() < min_ratings
    return rare


def _table(model: "Model", best: Top) -> pl.DataFrame:
    prediction = np.clip(best.score, model.facts.lowest, model.facts.highest)
    return pl.DataFrame(
        {
            "user": best.user,
            "rank": best.place + 1,
            "item": model.items.raw[best.item],
            "prediction": prediction,
            "score": best.score,
        }
    )


def similar_items(model: "Model", item: int | str, k: int, min_ratings: int) -> pl.DataFrame:
    """The k items whose features point most nearly the same way; see `Model.similar_items`."""
    require_whole("k", k)
    rare = _rare(model, min_ratings)
    row = require_row(model.items, item, "item")
    X = model.item_side.X.numpy()
    length = np.linalg.norm(X, axis=1)
    usable = length > 0  # not so where nobody rated the item in training
    if not usable[row]:
        raise RunError(f"item {item} has no training ratings, so the model knows no features to compare")
    usable &= ~rare
    cosine: NDArray[np.float64] = X @ X[row] / np.where(usable, length * length[row], 1.0)
    cosine[~usable] = -np.inf
    cosine[row] = -np.inf
    best = top(cosine[None], k)
    return pl.DataFrame({"rank": best.place + 1, "item": model.items.raw[best.item], "cosine": best.score})


def require_row(ids: IdMap, raw: int | str, what: str) -> int:
    """The row of one raw id.

    Args:
        ids: where it should be.
        raw: one id.
        what: `user` or `item`, for messages.

    Raises:
        DataError: it is not one id, or the model has no such user or item.
    """
    if not isinstance(raw, str | int | np.integer):
        raise DataError(f"{raw!r} is not the id of one {what}: give an integer or text")
    rows: Rows = ids.find(as_ids([raw]))  # type: ignore[arg-type]
    if rows[0] < 0:
        raise DataError(
            f"the model has no {what} {raw}; it knows {counted(len(ids), what)}, such as {ids.raw[0]}"
        )
    return int(rows[0])
