"""Hold the figures of an evaluation."""

from dataclasses import asdict, dataclass
from typing import Any

from cofi_dist.ranking.bootstrap import Interval
from cofi_dist.ranking.metrics import METRICS
from cofi_dist.words import counted

# Attributes that have another name in the files of `evaluate --output`, which other programs read.
KEYS_IN_FILES = {"ratings_seen_in_training": "trained_ratings", "users_without_relevant": "users_without"}


@dataclass(frozen=True)
class Ranking:
    """Hold ranking metrics, averaged over the users with relevant items.

    docs/api.md (Evaluate) has the formulas.

    Attributes:
        k: length of a list.
        relevant: the rating from which a held-out item is relevant; None if all of them are.
        users: number of users with relevant items.
        users_without_relevant: number of users with held-out ratings, but no relevant item; they are in
            no average.
        precision: share of the list that is relevant; this and the next five are None if no user has
            relevant items.
        recall: share of the relevant items that are in the list.
        ndcg: discounted gain of the relevant items by their ranks, divided by the largest possible one.
        map: precision at the rank of each relevant item, averaged over all relevant items.
        hit_rate: share of the users whose list has a relevant item.
        mrr: 1 / rank of the first relevant item, 0 if there is none.
        popularity: training ratings of an item in a list, averaged over each list, then over users.
        coverage: share of the model's items that are in any user's list.
        gini: Gini coefficient of the numbers of lists that the model's items are in.
        intervals: lower and upper limit of the 95 % interval of each average over users, by its name.
    """

    k: int
    relevant: float | None
    users: int
    users_without_relevant: int
    precision: float | None
    recall: float | None
    ndcg: float | None
    map: float | None
    hit_rate: float | None
    mrr: float | None
    popularity: float | None
    coverage: float | None
    gini: float | None
    intervals: dict[str, Interval]


@dataclass(frozen=True)
class Evaluation:
    """Hold the figures of `evaluate`.

    Attributes:
        ratings: number of held-out ratings.
        users: number of users who have any.
        rmse: over all ratings, on their scale; None for a model of events, as the next three are.
        mae: over all ratings, on their scale.
        rmse_by_user: computed for each user, then averaged over users.
        mae_by_user: computed for each user, then averaged over users.
        unseen_users: number of users without training ratings.
        unseen_items: number of items without training ratings.
        unseen_ratings: number of ratings by such a user or of such an item.
        ratings_seen_in_training: number of held-out ratings whose pair is in the training ratings too.
        sample: about how many users were to be judged, chosen by a hash; None for all.
        intervals: lower and upper limit of the 95 % interval of each error, by its name.
        ranking: figures of the lists; None if the training ratings, which lists leave out, were not given.
    """

    ratings: int
    users: int
    rmse: float | None
    mae: float | None
    rmse_by_user: float | None
    mae_by_user: float | None
    unseen_users: int
    unseen_items: int
    unseen_ratings: int
    ratings_seen_in_training: int
    sample: int | None
    intervals: dict[str, Interval]
    ranking: Ranking | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as `evaluate --output` writes them."""
        return asdict(
            self, dict_factory=lambda pairs: {KEYS_IN_FILES.get(name, name): v for name, v in pairs}
        )

    def __repr__(self) -> str:
        ranked = "no ranking"
        if self.ranking is not None:
            averages = {name: getattr(self.ranking, name) for name in METRICS}
            shown = (f"{name} {'-' if a is None else f'{a:.4f}'}" for name, a in averages.items())
            ranked = f"k {self.ranking.k}: {', '.join(shown)}"
        errors = "" if self.rmse is None else f" rmse {self.rmse:.4f}, mae {self.mae:.4f};"
        noun = "event" if self.rmse is None else "rating"
        judged = f"{counted(self.ratings, noun)} by {counted(self.users, 'user')}"
        return f"Evaluation({judged};{errors} {ranked})"
