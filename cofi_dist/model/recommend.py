"""Recommend the items that users would rate highest, and find what is most like an item or a user."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.errors import DataError, RunError
from cofi_dist.model.arguments import Ids, find_row, find_rows, is_one_id, require_whole_number
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.left_out import LeftOut, is_rare
from cofi_dist.model.run_ratings import RunRatings, require_same_rows
from cofi_dist.model.scoring import RowIndices, Scorer
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import Ranker
from cofi_dist.ranking.top_k import TopK, settle
from cofi_dist.ranking.users import batch_size
from cofi_dist.system.threads import in_order

USERS_AT_ONCE = 2**10  # by each thread
ROWS_AT_ONCE = 2**18  # of X or W that are compared with one of them


def recommend(
    scorer: Scorer, users: Any, k: int, left_out: LeftOut, rated: RunRatings | None = None
) -> pl.DataFrame:
    """Return the k best items for one user, or for each of a list of users; see `Model.recommend`."""
    require_whole_number("k", k)
    rated = require_same_rows(rated, scorer.users, scorer.items)
    if isinstance(users, FoldedUser):
        return _recommend_folded(scorer, users, k, left_out)
    if is_one_id(users):
        rows = np.array([find_row(scorer.users, users, "user")])
        return _best_of(
            scorer, Ranker(scorer.X, scorer.offset, left_out.items), rows, k, rated, left_out
        ).drop("user")
    return pl.concat(_lists_of(scorer, _rows_once(scorer, users), k, rated, left_out, USERS_AT_ONCE))


def recommend_all(
    scorer: Scorer,
    k: int,
    left_out: LeftOut,
    *,
    rated: RunRatings | None,
    users: Ids | None,
    users_at_once: int | None,
    device: str,
) -> Iterator[pl.DataFrame]:
    """Yield the k best items of many users, in batches of users; see `Model.recommend_all`."""
    require_whole_number("k", k)
    rated = require_same_rows(rated, scorer.users, scorer.items)
    rows = np.arange(len(scorer.users)) if users is None else _rows_once(scorer, users)
    if users_at_once is not None:
        require_whole_number("users_at_once", users_at_once)
    size = users_at_once or min(USERS_AT_ONCE, batch_size(min(k, len(scorer.items))))
    return _lists_of(scorer, rows, k, rated, left_out, size, device)


def _lists_of(
    scorer: Scorer,
    rows: RowIndices,
    k: int,
    rated: RunRatings | None,
    left_out: LeftOut,
    users_at_once: int,
    device: str = "cpu",
) -> Iterator[pl.DataFrame]:
    ranker = Ranker(scorer.X, scorer.offset, left_out.items, device)

    def lists_from(start: int) -> pl.DataFrame:
        return _best_of(scorer, ranker, rows[start : start + users_at_once], k, rated, left_out)

    # of no users, the one batch without any has the columns
    yield from in_order(lists_from, range(0, max(len(rows), 1), users_at_once), ranker.batches_at_once)


def _recommend_folded(scorer: Scorer, user: FoldedUser, k: int, left_out: LeftOut) -> pl.DataFrame:
    if len(left_out.pairs.user):
        raise DataError("exclude holds pairs of users of the model; give items, as this user is not one")
    own = UserItemPairs(np.zeros(len(user.rated), np.int64), user.rated)
    ranker = Ranker(scorer.X, scorer.offset, left_out.items)
    return _table(scorer, ranker.best(user.w[None], np.array([user.b]), k, own)).drop("user")


def _best_of(
    scorer: Scorer,
    ranker: Ranker,
    rows: RowIndices,
    k: int,
    rated: RunRatings | None,
    left_out: LeftOut,
) -> pl.DataFrame:
    """Return the k best items of the users of these rows of W, in their order.

    Args:
        scorer: of the model.
        ranker: of its items, but those that nobody gets.
        rows: of the users.
        k: number of items.
        rated: all that a user has rated is left out.
        left_out: its pairs are left out.
    """
    w, b = scorer.user_factors(rows)
    own = left_out.pairs_of(rows)
    if rated is not None:
        own = UserItemPairs.joined(own, UserItemPairs(*rated.pairs_of(rows)))
    table = _table(scorer, ranker.best(w, b, k, own))
    return table.with_columns(user=scorer.users.raw[rows[table["user"]]])


def _rows_once(scorer: Scorer, users: Ids) -> RowIndices:
    """Return the row of each user of a list; raise DataError if one is in it again."""
    rows = find_rows(scorer.users, users, "user")
    found, counts = np.unique(rows, return_counts=True)
    if (counts > 1).any():
        user = scorer.users.raw[int(found[counts > 1][0])]
        raise DataError(f"user {user} is in the list twice; give each user once, as .unique() does")
    return rows


def similar_items(scorer: Scorer, item: int | str, k: int, min_ratings: int) -> pl.DataFrame:
    """Return the k items whose features have the largest cosine to this one's; see `Model.similar_items`."""
    row = find_row(scorer.items, item, "item")
    rare = is_rare(scorer.item_counts, min_ratings)
    best = _most_alike(lambda rows: scorer.X[rows.start : rows.stop], row, rare, k)
    if best is None:
        raise RunError(
            f"item {item} has no training {scorer.noun}s, so the model knows no features to compare"
        )
    return pl.DataFrame({"rank": best.rank, "item": scorer.items.raw[best.item], "cosine": best.score})


def similar_users(scorer: Scorer, user: int | str, k: int, min_ratings: int) -> pl.DataFrame:
    """Return the k users whose weights have the largest cosine to this one's; see `Model.similar_users`."""
    row = find_row(scorer.users, user, "user")
    rare = is_rare(scorer.user_counts, min_ratings)
    best = _most_alike(lambda rows: scorer.user_factors(np.arange(rows.start, rows.stop))[0], row, rare, k)
    if best is None:
        raise RunError(
            f"user {user} has no training {scorer.noun}s, so the model knows no weights to compare"
        )
    return pl.DataFrame({"rank": best.rank, "user": scorer.users.raw[best.item], "cosine": best.score})


def _most_alike(
    factors: Callable[[range], NDArray[np.float64]], row: int, left_out: NDArray[np.bool_], k: int
) -> TopK | None:
    """Return the k other rows with the largest cosine to a row; None if it is 0, as without ratings.

    Args:
        factors: returns rows that follow one another, of which not all need be in memory.
        row: of which one.
        left_out: which rows are in no list, (N,).
        k: length of the list.
    """
    require_whole_number("k", k)
    starts = range(0, len(left_out), ROWS_AT_ONCE)
    blocks = [range(start, min(start + ROWS_AT_ONCE, len(left_out))) for start in starts]
    of_row = blocks[row // ROWS_AT_ONCE]
    direction, has_direction = _directions(factors(of_row))
    if not has_direction[row - of_row.start]:
        return None
    wanted, found, scores = direction[row - of_row.start][None], [], []
    for rows in blocks:
        direction, is_candidate = _directions(factors(rows))
        is_candidate &= ~left_out[rows.start : rows.stop]
        if row in rows:
            is_candidate[row - rows.start] = False
        ranker = Ranker(direction, np.zeros(len(rows)), ~is_candidate)
        best = ranker.best(wanted, np.zeros(1), k, UserItemPairs.none())
        found.append(UserItemPairs(best.user, best.item + rows.start))
        scores.append(best.score)
    return settle(UserItemPairs.joined(*found), np.concatenate(scores), k)


def _directions(factors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return rows of length 1, and which of them have a direction; the others are 0."""
    norm = np.linalg.norm(factors, axis=1)
    has_direction = norm > 0
    return factors / np.where(has_direction, norm, 1.0)[:, None], has_direction


def _table(scorer: Scorer, best: TopK) -> pl.DataFrame:
    lists = {"user": best.user, "rank": best.rank, "item": scorer.items.raw[best.item]}
    if not scorer.is_implicit:
        lists["prediction"] = scorer.clip(best.score)
    return pl.DataFrame({**lists, "score": best.score})
