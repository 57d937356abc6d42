"""Say why lists of items are short, and that they rest on few ratings."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cofi_dist.cli.list_limits import ListLimits
from cofi_dist.distributed.comm import Comm
from cofi_dist.words import counted, have

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from cofi_dist.model import Model

FEW = 2  # training ratings of an item, whose mean and features are mostly chance


def has_rated(model: "Model") -> str:
    """Return what a user did to the items that lists leave out."""
    return "has events of" if model.facts.is_implicit else "has rated"


def describe_unknown_list(model: "Model") -> str:
    """Say what the list of a user without training ratings is."""
    if bool((model.scorer.offset == model.scorer.offset[0]).all()):
        return (
            "a list in the order of the ids, as all items score the same; a model trained with"
            " model.item_bias=true lists popular items"
        )
    return "the average user's list"


class ListNotes:
    """Count the places in lists of k items, of one user or many, and say what is odd about them.

    Args:
        model: the model that made the lists.
        k: the length that was asked for.
        limits: what the lists may show.
        beside: row of the item to which the others are similar, and which is not in the list.
        leaves_out_rated: whether lists leave out what a user has rated.
    """

    def __init__(
        self,
        model: "Model",
        k: int,
        limits: ListLimits,
        *,
        beside: int | None = None,
        leaves_out_rated: bool = True,
    ) -> None:
        from cofi_dist.model.left_out import LeftOut

        self._model, self._k, self._limits = model, k, limits
        self._training_rating = f"training {model.facts.noun}"
        lacks = [has_rated(model)] * leaves_out_rated + ["may not get"] * limits.has_pairs
        self._lacks = " or ".join(lacks)
        self._other = "" if beside is None else "other "
        self._may_be_listed = ~LeftOut.build(model.scorer, model.facts.columns, **limits.arguments).items
        if beside is not None:
            self._may_be_listed[beside] = False
        self._places = self._few = self._non_empty = self._full = 0

    def add(self, table: "pl.DataFrame") -> None:
        """Count what is in these lists, which have the columns `rank` and `item`."""
        counts = self._model.arrays.item_counts
        self._places += len(table)
        self._few += int((counts[self._model.items.find(table["item"])] <= FEW).sum())
        self._non_empty += int((table["rank"] == 1).sum())
        self._full += int((table["rank"] == self._k).sum())

    def sum_over_ranks(self, comm: Comm) -> None:
        """Count the lists of all ranks. Collective: all ranks call it."""
        own = [self._places, self._few, self._non_empty, self._full]
        totals = map(sum, zip(*comm.all_gather_objects(own), strict=True))
        self._places, self._few, self._non_empty, self._full = totals

    def for_one_list(self, who: str = "") -> Iterator[str]:
        """Yield what is to be said of one list, of this user."""
        number, items = self._candidates
        if not number:
            yield f"nothing to list: the model has {items}; {self._advice}"
        elif not self._places and self._lacks:
            yield f"nothing to list: the model has {items}, and {who} {self._lacks} all of them"
        elif not self._full:
            is_whole = not self._lacks or self._places == number
            others = "" if is_whole else f", and {who} {self._lacks} the others"
            yield f"{self._places:,} of {self._k:,}: the model has {items}{others}"
        yield from self._notes()

    def for_users(self, rows: "NDArray[np.int64]") -> Iterator[str]:
        """Yield what is to be said of the lists of many users, whose rows these are."""
        users = counted(len(rows), "user")
        short, empty = len(rows) - self._full, len(rows) - self._non_empty
        number, items = self._candidates
        if short:
            none = f", {empty:,} of them none" if empty else ""
            less = f", less those that a user {self._lacks}" if self._lacks and number else ""
            advice = "" if number else f"; {self._advice}"
            yield (
                f"{short:,} of {users} get fewer than {counted(self._k, 'item')}{none}: the model has"
                f" {items}{less}{advice}"
            )
        unseen = int((self._model.arrays.user_counts[rows] == 0).sum())
        if unseen:
            what = describe_unknown_list(self._model)
            yield f"{unseen:,} of {users} {have(unseen)} no {self._training_rating}s, so {what}"
        yield from self._notes()

    def _notes(self) -> Iterator[str]:
        known = int((self._may_be_listed & (self._model.arrays.item_counts > FEW)).sum())
        if 2 * self._few > self._places and known >= self._k:  # else there is nothing to put in their place
            also = ""
            if not self._other and self._model.config.data.centre == "item_mean":
                also = ", and a model trained with data.centre=damped_item_mean ranks them lower"
            yield (
                f"{self._few:,} of {counted(self._places, 'place')} go to items with at most"
                f" {counted(FEW, self._training_rating)}; --min-ratings {FEW + 1}, or more, leaves such items"
                f" out{also}"
            )

    @property
    def _candidates(self) -> tuple[int, str]:
        """Return the number of items that may be in a list, and that in words."""
        number, limits = int(self._may_be_listed.sum()), self._limits
        noun = f"{self._other}item"
        words = [counted(number, noun) if number else f"no {noun}"]
        if limits.candidates is not None:
            words.append("of --candidates")
        if limits.min_ratings:
            words.append(f"with {counted(limits.min_ratings, self._training_rating)} or more")
        if limits.exclude is not None and not limits.has_pairs:
            words.append("that --exclude leaves")
        return number, " ".join(words)

    @property
    def _advice(self) -> str:
        """Say what to change if no item may be in a list."""
        files = {"--candidates": self._limits.candidates, "--exclude": self._limits.exclude}
        given = [name for name, ids in files.items() if ids is not None]
        advice = ["lower --min-ratings"] if self._limits.min_ratings else []
        return " or ".join(advice + [f"change {' or '.join(given)}"] * bool(given))
