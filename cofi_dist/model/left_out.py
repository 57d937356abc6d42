"""Choose what lists leave out: all but the candidates, what is excluded, and what has few ratings."""

import logging
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.config import ColumnNames
from cofi_dist.errors import DataError
from cofi_dist.model.arguments import Ids, as_candidates, as_exclusions, require_whole_number
from cofi_dist.model.scoring import RowIndices, Scorer
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.words import counted, none_known

# M items, U users of a batch.


@dataclass(frozen=True)
class LeftOut:
    """Hold what lists leave out, beside what a user has rated.

    Attributes:
        items: whether nobody gets an item, (M,).
        pairs: what single users do not get, sorted by `user`, which is a row of W.
    """

    items: NDArray[np.bool_]
    pairs: UserItemPairs

    @classmethod
    def build(
        cls, scorer: Scorer, columns: ColumnNames, *, candidates: Ids | None, exclude: Ids, min_ratings: int
    ) -> Self:
        """Find the rows of what callers name.

        What is unknown to the model is not used; the logger `cofi_dist` says how much that is.

        Args:
            scorer: of the model.
            columns: what the columns of ids are called in the training data.
            candidates: raw ids of the items that lists may hold; None for all.
            exclude: raw ids of items; or a table of items, or of pairs of a user and an item.
            min_ratings: the least number of training ratings of an item in a list.

        Raises:
            DataError: the model knows no candidate, or one of these is not what it should be.
        """
        is_left_out = is_rare(scorer.item_counts, min_ratings)
        if candidates is not None:
            is_left_out |= ~_is_candidate(scorer, as_candidates(candidates))
        excluded = as_exclusions(exclude, columns)
        items = scorer.items.find(excluded["item"])
        if "user" not in excluded.columns:
            _log_unknown(items < 0, "excluded item")
            is_left_out[items[items >= 0]] = True
            return cls(is_left_out, UserItemPairs.none())
        users = scorer.users.find(excluded["user"])
        is_known = (users >= 0) & (items >= 0)
        _log_unknown(~is_known, "excluded pair")
        pairs = UserItemPairs(users, items).masked(is_known)
        order = np.argsort(pairs.user, kind="stable")
        return cls(is_left_out, UserItemPairs(pairs.user[order], pairs.item[order]))

    def pairs_of(self, rows: RowIndices) -> UserItemPairs:
        """Return the pairs of the users of these rows of W, (U,), who become their places in `rows`."""
        starts, stops = np.searchsorted(self.pairs.user, rows), np.searchsorted(self.pairs.user, rows + 1)
        return UserItemPairs.of_rows(starts, stops - starts, self.pairs.item)


def is_rare(counts: NDArray[np.float64], min_ratings: int) -> NDArray[np.bool_]:
    """Tell which items, or users, have fewer than `min_ratings` training ratings."""
    require_whole_number("min_ratings", min_ratings, least=0)
    return counts < min_ratings


def _is_candidate(scorer: Scorer, candidates: pl.Series) -> NDArray[np.bool_]:
    rows = scorer.items.find(candidates)
    is_known = rows >= 0
    if not is_known.any():
        raise DataError(none_known(len(rows), "candidate"))
    _log_unknown(~is_known, "candidate")
    is_candidate = np.zeros(len(scorer.items), np.bool_)
    is_candidate[rows[is_known]] = True
    return is_candidate


def _log_unknown(is_unknown: NDArray[np.bool_], noun: str) -> None:
    if is_unknown.any():
        of = f"{int(is_unknown.sum()):,} of {counted(len(is_unknown), noun)}"
        logging.getLogger("cofi_dist").info("%s: unknown to the model; not used", of)
