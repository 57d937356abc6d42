"""Find items by words of their titles, or by their ids where they have none."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from cofi_dist.model import Model


class Catalogue:
    """Hold the items of all models, those with most training ratings first.

    Args:
        models: whose items they are.
        title_of: titles by raw id as text; an item need not have one.
    """

    def __init__(self, models: Sequence[Model], title_of: Mapping[str, str]) -> None:
        own = [
            pl.DataFrame({"item": model.items.raw.cast(pl.String), "ratings": _counts(model)})
            for model in models
        ]
        every = pl.concat(own).group_by("item", maintain_order=True).max()
        every = every.sort("ratings", descending=True, maintain_order=True)
        titles = [title_of.get(item) for item in every["item"]]
        every = every.with_columns(title=pl.Series(titles, dtype=pl.String))
        self._items = every.with_columns(words=_folded(pl.coalesce("title", "item")))
        self._title_of = title_of

    def __len__(self) -> int:
        return len(self._items)

    def title(self, item: str) -> str | None:
        """Return the title of an item, by its raw id as text; None if it has none."""
        return self._title_of.get(item)

    def search(self, text: str, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Return the items whose title has all words of a text, and how many there are beyond the limit, too.

        An item without a title has its id as one; and every item is found by its exact id. First comes that
        one, then titles that begin with the text, then those with a word that begins with its first word.
        Among equals, the item with most ratings comes first. An empty text finds all items.
        """
        # the same folding as that of the titles, or no accent would find itself
        (folded,) = pl.DataFrame({"text": [text]}).select(_folded(pl.col("text"))).row(0)
        words = folded.split()
        if not words:
            return self._rows(self._items.head(limit)), len(self._items)
        is_id = pl.col("item") == text.strip()
        has_all = pl.all_horizontal(pl.col("words").str.contains(word, literal=True) for word in words)
        place = (
            pl.when(is_id)
            .then(0)
            .when(pl.col("words").str.starts_with(" ".join(words)))
            .then(1)
            .when((pl.lit(" ") + pl.col("words")).str.contains(" " + words[0], literal=True))
            .then(2)
            .otherwise(3)
        )
        found = self._items.filter(is_id | has_all).sort(place, maintain_order=True)
        return self._rows(found.head(limit)), len(found)

    def _rows(self, items: pl.DataFrame) -> list[dict[str, Any]]:
        return items.select("item", "title", pl.col("ratings").cast(pl.Int64)).to_dicts()


def _counts(model: Model) -> pl.Series:
    return pl.Series(np.asarray(model.arrays.item_counts, np.float64))


def _folded(text: pl.Expr) -> pl.Expr:
    """Return text in lower case and without accents, as people type it."""
    return text.str.normalize("NFKD").str.replace_all(r"\p{M}", "").str.to_lowercase()
