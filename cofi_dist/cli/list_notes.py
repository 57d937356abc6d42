"""Say why lists of items are short, and that they rest on few ratings."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cofi_dist.words import counted, have

if TYPE_CHECKING:
    import polars as pl

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
        min_ratings: the least number of training ratings of an item in a list.
        beside: row of the item to which the others are similar, and which is not in the list.
    """

    def __init__(self, model: "Model", k: int, min_ratings: int, beside: int | None = None) -> None:
        self._model, self._k, self._min_ratings = model, k, min_ratings
        self._training_rating, self._has_rated = f"training {model.facts.noun}", has_rated(model)
        self._other = "" if beside is None else "other "
        self._counts = model.arrays.item_counts.copy()
        if beside is not None:
            self._counts[beside] = -1
        self._places = self._few = self._non_empty = self._full = 0

    def add(self, table: "pl.DataFrame") -> None:
        """Count what is in these lists, which have the columns `rank` and `item`."""
        self._places += len(table)
        self._few += int((self._counts[self._model.items.find(table["item"])] <= FEW).sum())
        self._non_empty += int((table["rank"] == 1).sum())
        self._full += int((table["rank"] == self._k).sum())

    def for_one_list(self, who: str | None) -> Iterator[str]:
        """Yield what is to be said of one list.

        Args:
            who: the user whose rated items are left out; None if none are.
        """
        number, items = self._candidates
        if not number:
            yield f"nothing to list: the model has {items}; lower --min-ratings"
        elif not self._places:
            yield f"nothing to list: the model has {items}, and {who} {self._has_rated} all of them"
        elif not self._full:
            is_whole = who is None or self._places == number
            others = "" if is_whole else f", and {who} {self._has_rated} the others"
            yield f"{self._places:,} of {self._k:,}: the model has {items}{others}"
        yield from self._notes()

    def for_all_users(self) -> Iterator[str]:
        """Yield what is to be said of the lists of all users."""
        users = counted(len(self._model.users), "user")
        short, empty = len(self._model.users) - self._full, len(self._model.users) - self._non_empty
        if short:
            none = f", {empty:,} of them none" if empty else ""
            yield (
                f"{short:,} of {users} get fewer than {counted(self._k, 'item')}{none}: the model has"
                f" {self._candidates[1]}, less those that a user {self._has_rated}"
            )
        unseen = int((self._model.arrays.user_counts == 0).sum())
        if unseen:
            what = describe_unknown_list(self._model)
            yield f"{unseen:,} of {users} {have(unseen)} no {self._training_rating}s, so {what}"
        yield from self._notes()

    def _notes(self) -> Iterator[str]:
        known = int((self._counts > FEW).sum())
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
        number = int((self._counts >= self._min_ratings).sum())
        noun = f"{self._other}item"
        least = counted(self._min_ratings, self._training_rating)
        limit = f" with {least} or more" if self._min_ratings else ""
        return number, f"{counted(number, noun) if number else f'no {noun}'}{limit}"
