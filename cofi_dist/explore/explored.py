"""Answer questions about one model, as JSON can hold the answers."""

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from cofi_dist.errors import CofiError, DataError
from cofi_dist.explore.catalogue import Catalogue
from cofi_dist.explore.neighbourhood import on_a_plane
from cofi_dist.explore.questions import Explain, ForSomebody, History, Neighbours, Rating, Recommend, Similar
from cofi_dist.model import FoldedUser, Model, RunRatings
from cofi_dist.sharding.ranges import UserRange

Answer = dict[str, Any]


class UnknownError(DataError):
    """Report that a model, an item, a user or what is known of one is not there."""


@dataclass(frozen=True, kw_only=True)
class ExploredModel:
    """Hold a model that is tried, and the ratings that it was trained on.

    Attributes:
        name: by which people tell it from another.
        model: itself.
        catalogue: the titles of its items.
        rated: its ratings; None if they are not there.
        why_not: why they are not.
    """

    name: str
    model: Model
    catalogue: Catalogue
    rated: RunRatings | None
    why_not: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def open(cls, name: str, model: Model, catalogue: Catalogue) -> "ExploredModel":
        """Open the ratings of the model if they are there, and build all that answers need only once."""
        lowest = model.facts.lowest
        model.fold_in(model.items.raw.head(1), [lowest if math.isfinite(lowest) else 1.0])
        try:
            return cls(name=name, model=model, catalogue=catalogue, rated=model.rated())
        except CofiError as error:
            return cls(name=name, model=model, catalogue=catalogue, rated=None, why_not=str(error))

    def describe(self) -> Answer:
        """Return what the model is."""
        model, facts = self.model, self.model.facts
        return {
            "name": self.name,
            "feedback": facts.feedback,
            "users": len(model.users),
            "items": len(model.items),
            "features": model.arrays.X.shape[1],
            "lowest": facts.lowest if math.isfinite(facts.lowest) else None,
            "highest": facts.highest if math.isfinite(facts.highest) else None,
            "strengths": bool(model.config.train.alpha),
            "has_ratings": self.rated is not None,
            "why_no_ratings": self.why_not,
            "diverged": facts.diverged,
        }

    def recommend(self, asked: Recommend) -> Answer:
        """Return the best items for a user of the model, or for somebody with a few ratings."""
        least = asked.min_ratings
        if asked.user is not None:
            user = self._known(asked.user, "user")
            table = self.model.recommend(user, asked.k, min_ratings=least, rated=self.rated)
            return {"items": self._titled(table), "unknown": 0}
        folded = self._folded(asked)
        table = self.model.recommend(folded, asked.k, min_ratings=least)
        return {"items": self._titled(table), "unknown": folded.unknown}

    def explain(self, asked: Explain) -> Answer:
        """Return what the ratings of somebody contribute to the score of an item."""
        item = self._known(asked.item, "item")
        if asked.user is None:
            found = self.model.explain(self._folded(asked), item)
        else:
            user, rated = self._known(asked.user, "user"), self._ratings()
            if not self.model.arrays.user_counts[self.model.users.find(pl.Series([user]))[0]]:
                raise UnknownError(
                    f"user {user} has no training {self.model.facts.noun}s to explain a score by"
                )
            with self._lock:
                found = self.model.explain(user, item, rated)
        return {
            "ratings": self._titled(found.ratings.head(asked.k)),
            "more": max(len(found.ratings) - asked.k, 0),
            "rest": float(found.ratings["contribution"].slice(asked.k).sum()),
            "offset": found.offset,
            "unrated": found.unrated,
            "score": found.score,
            "trained_score": found.trained_score,
        }

    def similar(self, asked: Similar) -> Answer:
        """Return the items that are most like one."""
        return {"items": self._titled(self._neighbours(asked))}

    def neighbourhood(self, asked: Neighbours) -> Answer:
        """Return an item and those that are most like it, with their places on a map."""
        table = self._neighbours(asked)
        item = self._known(asked.item, "item")
        own = pl.DataFrame({"item": self.model.items.raw[self._rows([item])], "cosine": [1.0]})
        table = pl.concat([own, table.select("item", "cosine")])
        places, share = on_a_plane(self.model.scorer.X[self.model.items.find(table["item"])])
        return {"items": self._titled(table.with_columns(x=places[:, 0], y=places[:, 1])), "share": share}

    def history(self, asked: History) -> Answer:
        """Return what a user has rated, the highest first, and which of it was held out of training."""
        rated = self._ratings()
        row = int(self.model.users.find(pl.Series([self._known(asked.user, "user")]))[0])
        with self._lock:
            parts = {part: rated.load(UserRange(row, row + 1), part) for part in rated.parts}
        every = pl.concat(
            pl.DataFrame(
                {"item": of.item.astype(np.int64), "value": of.value.astype(np.float64)}
            ).with_columns(part=pl.lit(part))
            for part, of in parts.items()
        ).sort("value", descending=True, maintain_order=True)
        shown = every.head(asked.k).with_columns(item=self.model.items.raw[every["item"].head(asked.k)])
        return {"items": self._titled(shown), "total": len(every)}

    def users(self, start: str, limit: int) -> Answer:
        """Return users whose ids begin with a text."""
        ids = self.model.users.raw.cast(pl.String)
        return {"users": ids.filter(ids.str.starts_with(start.strip())).head(limit).to_list()}

    def _ratings(self) -> RunRatings:
        if self.rated is None:
            raise UnknownError(self.why_not)
        return self.rated

    def _known(self, raw: str, kind: str) -> str:
        """Return a raw id that the model knows."""
        ids = self.model.users if kind == "user" else self.model.items
        if ids.find(pl.Series([raw]))[0] < 0:
            raise UnknownError(f"{self.name} has no {kind} {raw}")
        return raw

    def _rows(self, raw: Iterable[str]) -> Any:
        return self.model.items.find(pl.Series(list(raw)))

    def _folded(self, asked: ForSomebody) -> FoldedUser:
        ratings: list[Rating] = asked.ratings or []
        items = pl.Series([rating.item for rating in ratings])
        if self.model.facts.is_implicit:
            return self.model.fold_in(items, [1.0 if r.value is None else r.value for r in ratings])
        unrated = next((rating.item for rating in ratings if rating.value is None), None)
        if unrated is not None:
            raise DataError(f"item {unrated} has no value; {self.name} learnt from ratings")
        return self.model.fold_in(items, [rating.value for rating in ratings])

    def _neighbours(self, asked: Similar) -> pl.DataFrame:
        item = self._known(asked.item, "item")
        if not self.model.scorer.X[self._rows([item])].any():
            noun = self.model.facts.noun
            raise UnknownError(f"item {item} has no training {noun}s, so {self.name} knows no features of it")
        return self.model.similar_items(item, asked.k, asked.min_ratings)

    def _titled(self, table: pl.DataFrame) -> list[Answer]:
        """Return the rows of a table, with ids as text, titles and numbers of training ratings."""
        counts = self.model.arrays.item_counts[self.model.items.find(table["item"])].astype(np.int64)
        rows = table.with_columns(item=table["item"].cast(pl.String), ratings=counts).to_dicts()
        return [{**row, "title": self.catalogue.title(row["item"])} for row in rows]
