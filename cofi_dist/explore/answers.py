"""Answer each question that the page may ask, by the model that it names."""

from collections.abc import Sequence

from cofi_dist.explore import questions
from cofi_dist.explore.catalogue import Catalogue
from cofi_dist.explore.explored import Answer, ExploredModel, UnknownError


class Answers:
    """Hold the models of a page.

    Args:
        models: one or two.
        catalogue: of their items.
    """

    def __init__(self, models: Sequence[ExploredModel], catalogue: Catalogue) -> None:
        self._models, self._catalogue = models, catalogue

    def models(self, _: questions.NoQuestion) -> Answer:
        """Return what the models are."""
        return {"models": [each.describe() for each in self._models], "items": len(self._catalogue)}

    def search(self, asked: questions.Search) -> Answer:
        """Return items by their titles."""
        items, total = self._catalogue.search(asked.q, asked.limit)
        return {"items": items, "total": total}

    def users(self, asked: questions.UserSearch) -> Answer:
        """Return users by their ids."""
        return self._of(asked.model).users(asked.q, asked.limit)

    def recommend(self, asked: questions.Recommend) -> Answer:
        """Return the best items of somebody."""
        return self._of(asked.model).recommend(asked)

    def explain(self, asked: questions.Explain) -> Answer:
        """Return which ratings give an item its score."""
        return self._of(asked.model).explain(asked)

    def similar(self, asked: questions.Similar) -> Answer:
        """Return the items that are most like one."""
        return self._of(asked.model).similar(asked)

    def neighbourhood(self, asked: questions.Neighbours) -> Answer:
        """Return the map of an item."""
        return self._of(asked.model).neighbourhood(asked)

    def history(self, asked: questions.History) -> Answer:
        """Return what a user has rated."""
        return self._of(asked.model).history(asked)

    def _of(self, place: int) -> ExploredModel:
        if place >= len(self._models):
            raise UnknownError(f"there is no model {place}; this page shows one, which is model 0")
        return self._models[place]
