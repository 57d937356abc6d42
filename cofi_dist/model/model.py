"""Model: factors, id maps, item means and the config they were trained with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.config import Config
from cofi_dist.data.ids import IdMap
from cofi_dist.errors import DataError, RunError
from cofi_dist.factors import Factors
from cofi_dist.files.atomic import atomic_directory
from cofi_dist.model import evaluate, fold_in, predict, recommend, store
from cofi_dist.model.evaluate import Evaluation
from cofi_dist.model.facts import TrainingDataFacts
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.held_out import HeldOut
from cofi_dist.model.run_ratings import RunRatings, open_run_ratings
from cofi_dist.model.scoring import Ids, ItemSide, Rows, as_ids, user_side
from cofi_dist.words import counted


@dataclass(frozen=True)
class Model:
    """A prediction is `X[i] . W[j] + b[0, j] + c[0, i] + item_means[i]`, clipped to the scale.

    The factors are as training left them, bit for bit. A row without training ratings holds what is
    left of its random start; wherever the model is used, it counts as that of an unknown user or item.

    Attributes:
        factors: X (num_items, n), W (num_users, n), b (1, num_users), c (1, num_items) or None,
            on the CPU.
        item_means: what was subtracted from each item's ratings, (num_items,) float64.
        item_counts, user_counts: training ratings of each item and of each user, float64.
        facts: of the training ratings.
        users, items: raw id of each row of W and of X.
        config: what it was trained with.
    """

    factors: Factors
    item_means: Tensor
    item_counts: Tensor
    user_counts: Tensor
    facts: TrainingDataFacts
    users: IdMap
    items: IdMap
    config: Config

    def __repr__(self) -> str:
        train, (lowest, highest) = self.config.train, (self.facts.lowest, self.facts.highest)
        return (
            f"Model({counted(len(self.users), 'user')}, {counted(len(self.items), 'item')},"
            f" {counted(self.factors.X.shape[1], 'feature')}; {train.optimizer}, lambda {train.lambda_:g};"
            f" ratings from {lowest:g} to {highest:g}{', diverged' * bool(self.facts.diverged)})"
        )

    @cached_property
    def item_side(self) -> ItemSide:
        """What all users' scores share, in float64."""
        return ItemSide.of(self)

    @property
    def has_means(self) -> bool:
        """Whether means were taken off the ratings."""
        return bool(self.item_means.any())

    @property
    def fallbacks(self) -> tuple[str, str]:
        """What an unknown user's, and an unknown item's, predictions are made of, in words."""
        biased = self.factors.c is not None
        of_user = ["the item's mean"] * self.has_means + ["the item's bias"] * biased
        of_item = ["the global mean"] * self.has_means + ["the average item's bias"] * biased
        return " + ".join([*of_user, "the average user's bias"]), " + ".join([*of_item, "the user's bias"])

    def user_side(self, user: Rows) -> tuple[Tensor, Tensor]:
        """w, (U, n), and b, (U,), of rows of W, in float64; of rows outside it, an unknown user's."""
        return user_side(self, user)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name in the files."""
        named = {"X": self.factors.X, "W": self.factors.W, "b": self.factors.b, "c": self.factors.c}
        others = {name: getattr(self, name) for name in ("item_means", "item_counts", "user_counts")}
        return {name: t for name, t in {**named, **others}.items() if t is not None}

    def save(self, directory: Path, *, replace: bool = False) -> None:
        """Write the model; the directory appears whole, in the place of one to `replace`, or not at all.

        Raises:
            RunError: the directory exists or can't be written, or a number of the model is not finite.
        """
        for name, tensor in self.tensors.items():
            if not bool(tensor.isfinite().all()):
                raise RunError(f"{directory}: {name} holds a number that is not finite; nothing was written")
        with atomic_directory(directory, replace=replace) as temporary:
            store.write(temporary, self.tensors, self.facts, self.users, self.items, self.config)

    @classmethod
    def load(cls, directory: str | Path) -> "Model":
        """Read what `save` wrote.

        Args:
            directory: the model's own, or that of a run, which holds it.

        Raises:
            CofiError: no model there, or one of its files isn't what it should be.
        """
        return cls(*store.read(store.find(Path(directory))))

    def rated(self, run: str | Path, prepared: str | Path | None = None) -> RunRatings:
        """The ratings of the model's run, for `exclude`, `recommend_all` and `evaluate`.

        Args:
            run: its directory.
            prepared: where its prepared ratings are now, if they were moved.

        Raises:
            CofiError: they are not there, or are not the model's.
        """
        return open_run_ratings(self, Path(run), None if prepared is None else Path(prepared))

    def predict(self, users: Ids | FoldedUser, items: Ids) -> NDArray[np.float64]:
        """Predicted ratings, (N,) float64, clipped to the scale of the training ratings.

        An unknown user or item is taken for the average one; see `cofi_dist.model.scoring`.

        Args:
            users: N raw ids; or one folded-in user, for all items.
            items: N raw ids.

        Raises:
            DataError: not as many users as items, or ids that are neither integers nor text.
        """
        item = self.items.find(as_ids(items))
        if isinstance(users, FoldedUser):
            return predict.predict_for(self, users.w, users.b, item)
        user = self.users.find(as_ids(users))
        if len(user) != len(item):
            raise DataError(
                f"{counted(len(user), 'user')}, but {counted(len(item), 'item')}; a pair has one of each"
            )
        return predict.predict_rows(self, user, item)

    def recommend(
        self, user: int | str | FoldedUser, k: int = 10, exclude: Ids = (), min_ratings: int = 0
    ) -> pl.DataFrame:
        """The items with the highest scores, best first; equal scores in the order of the item map.

        Args:
            user: raw id; or a folded-in user, whose own items are left out.
            k: how many; fewer where there are no more items.
            exclude: raw ids of items to leave out, such as `model.rated(run).items_of(...)`.
            min_ratings: items with fewer training ratings are left out.

        Returns:
            Columns `rank` from 1, `item`, `prediction` and `score`: the prediction before it is
            clipped, by which items are ranked.

        Raises:
            DataError: the model has no such user, or k is not positive.
        """
        return recommend.recommend(self, user, k, exclude, min_ratings)

    def recommend_all(
        self,
        k: int = 10,
        rated: RunRatings | None = None,
        users_at_once: int | None = None,
        min_ratings: int = 0,
    ) -> Iterator[pl.DataFrame]:
        """What `recommend` gives for each user, in blocks of users that fit in memory.

        Args:
            k: how many for each.
            rated: items to leave out: all that the user has rated.
            users_at_once: users in a block, if not as many as memory allows.
            min_ratings: items with fewer training ratings are left out.

        Yields:
            As `recommend`, with the column `user`, in the order of the user map.
        """
        return recommend.recommend_all(self, k, rated, users_at_once, min_ratings)

    def similar_items(self, item: int | str, k: int = 10, min_ratings: int = 1) -> pl.DataFrame:
        """The items with the largest cosine of their features to this one's.

        Items without training ratings have no features to compare, and are left out. The features of
        an item with few are short, and their direction is mostly chance: `min_ratings` leaves out
        those with fewer.

        Returns:
            Columns `rank` from 1, `item` and `cosine`.

        Raises:
            DataError: the model has no such item, or k is not positive.
            RunError: the item has no training ratings.
        """
        return recommend.similar_items(self, item, k, min_ratings)

    def fold_in(self, items: Ids, ratings: Sequence[float] | NDArray[np.floating]) -> FoldedUser:
        """A new user by their ratings, for `predict` and `recommend`; nothing is trained.

        The exact minimiser of the training objective over this user's weights and bias, X fixed.
        Items that the model does not know are dropped, and counted in the result.

        Raises:
            DataError: no item is known, one is rated twice, or a rating is not on the scale.
        """
        try:
            values = np.asarray(ratings, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"ratings are numbers: {error}") from None
        if values.ndim != 1:
            raise DataError(f"ratings are a list of numbers, not an array of {values.ndim} dimensions")
        return fold_in.fold_in(self, items, values)

    def evaluate(
        self,
        ratings: pl.DataFrame,
        rated: RunRatings | None = None,
        *,
        k: int = 10,
        relevant: float | None = None,
    ) -> Evaluation:
        """RMSE, MAE and, given the training ratings, ranking metrics at k.

        Args:
            ratings: columns `user` and `item`, raw ids, and `value`.
            rated: training ratings, left out of the lists.
            k: length of a list.
            relevant: the rating from which a held-out item is relevant; None: every one is.

        Raises:
            DataError: no ratings, one that is not finite or stands twice, or k is not positive.
        """
        return evaluate.evaluate(self, HeldOut.of_table(self, ratings), rated, k=k, relevant=relevant)
