"""Offer all that can be done with a trained model."""

import logging
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.errors import DataError
from cofi_dist.files.throwaway import throwaway_directory
from cofi_dist.model import explain, fold_in, predict, recommend
from cofi_dist.model.arguments import Ids, Numbers, as_ids, as_ratings, as_values
from cofi_dist.model.evaluation import Evaluation
from cofi_dist.model.explain import Explanation
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.left_out import LeftOut
from cofi_dist.model.list_device import list_device
from cofi_dist.model.run_ratings import RunRatings
from cofi_dist.model.scoring import Scorer, describe_fallbacks
from cofi_dist.model.trained import TrainedModel
from cofi_dist.ranking.scores import has_means
from cofi_dist.words import counted


class Model(TrainedModel):
    """Hold a trained model, and answer questions with it.

    It predicts `X[i] . W[j] + b[0, j] + c[0, i] + item_means[i]`, clipped to the scale of the training
    ratings. c exists only with `model.item_bias`.
    """

    @cached_property
    def scorer(self) -> Scorer:
        """Return all that scoring needs, with X widened to float64; built at the first use."""
        return Scorer.build(self.arrays, self.facts, self.users, self.items)

    @cached_property
    def _user_objective(self) -> fold_in.UserObjective:
        return fold_in.UserObjective(
            arrays=self.arrays, train=self.config.train, has_bias=self.config.model.user_bias
        )

    @property
    def fallbacks(self) -> tuple[str, str]:
        """Say in words what the predictions for an unknown user, and for an unknown item, consist of."""
        return describe_fallbacks(
            means=has_means(self.arrays.item_means),
            item_biases=self.arrays.c is not None,
            user_biases=self.config.model.user_bias,
        )

    def predict(self, users: Ids | FoldedUser, items: Ids) -> NDArray[np.float64]:
        """Predict ratings, clipped to the scale of the training ratings: (N,) float64.

        A model of events gives scores, which are not clipped. An unknown user or item is treated as the
        average one; `fallbacks` says what that means for this model.

        Args:
            users: N raw ids, as a list, or an array or a series of polars, pandas, numpy or Arrow; or one
                folded-in user, for all items.
            items: N raw ids.

        Raises:
            DataError: the numbers of users and items differ, or ids are neither integers nor text.
        """
        item_rows = self.items.find(as_ids(items))
        if isinstance(users, FoldedUser):
            return predict.predict_items(self.scorer, users.w, users.b, item_rows)
        user_rows = self.users.find(as_ids(users))
        if len(user_rows) != len(item_rows):
            raise DataError(
                f"{counted(len(user_rows), 'user')}, but {counted(len(item_rows), 'item')};"
                " a pair has one of each"
            )
        return predict.predict_pairs(self.scorer, user_rows, item_rows)

    def recommend(
        self,
        user: int | str | FoldedUser | Ids,
        k: int = 10,
        exclude: Ids = (),
        min_ratings: int = 0,
        rated: RunRatings | None = None,
        *,
        candidates: Ids | None = None,
    ) -> pl.DataFrame:
        """Return the items with the highest scores, best first; ties are in the order of the item map.

        Ids in `exclude` and `candidates` that the model does not know are ignored; the logger `cofi_dist`
        counts them.

        Args:
            user: raw id; or a list of raw ids, each once; or a folded-in user, whose own items are left out.
            k: number of items; fewer are returned if no more are left.
            exclude: raw ids of items to leave out for all users; or a table of them, or of pairs of a user
                and an item that this user does not get. Its columns are `user` and `item`, or are called as
                in the training data.
            min_ratings: items with fewer training ratings are left out.
            rated: what `rated()` returns; all that a user has rated is left out.
            candidates: raw ids of the items to choose from; None for all.

        Returns:
            A table with the columns `rank` (from 1), `item`, `prediction` and `score`. The score is the
            prediction before it is clipped, and decides the order. A model of events has no `prediction`.
            For a list of users, the first column is `user`, and the users are in the order of the list.

        Raises:
            DataError: the model has no such user, a list has a user twice, the model knows no candidate,
                `rated` is of a model with other users or items, or k is not positive.
        """
        left_out = self._left_out(candidates, exclude, min_ratings)
        return recommend.recommend(self.scorer, user, k, left_out, rated)

    def recommend_all(
        self,
        k: int = 10,
        rated: RunRatings | None = None,
        users_at_once: int | None = None,
        min_ratings: int = 0,
        *,
        users: Ids | None = None,
        candidates: Ids | None = None,
        exclude: Ids = (),
        device: str = "auto",
    ) -> Iterator[pl.DataFrame]:
        """Yield for each user what `recommend` returns, in batches of users that fit in memory.

        Args:
            k: number of items for each user.
            rated: what `rated()` returns; all that a user has rated is left out.
            users_at_once: users per batch; by default as many as memory allows.
            min_ratings: items with fewer training ratings are left out.
            users: raw ids, each once; None for all users of the model.
            candidates: as for `recommend`.
            exclude: as for `recommend`.
            device: `cpu`, `cuda`, or `auto`, which is `cuda` if there is one; the lists are the same.

        Yields:
            A table as of `recommend` with a list of users; the users are in the order of `users`, or of the
            model.
        """
        return recommend.recommend_all(
            self.scorer,
            k,
            self._left_out(candidates, exclude, min_ratings),
            rated=rated,
            users=users,
            users_at_once=users_at_once,
            device=list_device(device),
        )

    def _left_out(self, candidates: Ids | None, exclude: Ids, min_ratings: int) -> LeftOut:
        return LeftOut.build(
            self.scorer, self.facts.columns, candidates=candidates, exclude=exclude, min_ratings=min_ratings
        )

    def similar_items(self, item: int | str, k: int = 10, min_ratings: int = 1) -> pl.DataFrame:
        """Return the items whose features have the largest cosine to those of this item.

        Items without training ratings have no features to compare, and are left out. The features of
        an item with few ratings are short, and their direction is mostly chance.

        Args:
            item: raw id.
            k: number of items.
            min_ratings: items with fewer training ratings are left out.

        Returns:
            A table with the columns `rank` (from 1), `item` and `cosine`.

        Raises:
            DataError: the model has no such item, or k is not positive.
            RunError: the item has no training ratings.
        """
        return recommend.similar_items(self.scorer, item, k, min_ratings)

    def similar_users(self, user: int | str, k: int = 10, min_ratings: int = 1) -> pl.DataFrame:
        """Return the users whose weights have the largest cosine to those of this user; as `similar_items`.

        Args:
            user: raw id.
            k: number of users.
            min_ratings: users with fewer training ratings are left out.

        Returns:
            A table with the columns `rank` (from 1), `user` and `cosine`.

        Raises:
            DataError: the model has no such user, or k is not positive.
            RunError: the user has no training ratings.
        """
        return recommend.similar_users(self.scorer, user, k, min_ratings)

    def fold_in(self, items: Ids, ratings: Numbers | None = None) -> FoldedUser:
        """Compute a new user from their ratings or events, for `predict` and `recommend`; nothing is trained.

        The result is the exact minimiser of the training objective over this user's weights and bias,
        with X and c fixed. Items that the model does not know are dropped, and counted in the result.

        Args:
            items: raw ids.
            ratings: the rating of each item. For a model of events, the strengths of the events, which are
                added up for each item; 1 if not given.

        Raises:
            DataError: no item is known, one is rated twice, a rating is not on the scale, or a strength is
                not positive.
        """
        return fold_in.fold_in(self.scorer, self._user_objective, items, as_values(ratings))

    def explain(
        self, user: int | str | FoldedUser, item: int | str, rated: RunRatings | None = None
    ) -> Explanation:
        """Return what each of a user's own ratings contributes to the score of an item, exactly.

        The contributions add up, with what the item scores for everybody, to the score that the item gets
        if the user is folded in with the ratings that were trained on. The trained score is beside it.

        Args:
            user: raw id; or a folded-in user, who needs no `rated`.
            item: raw id, such as that of a recommended item.
            rated: the ratings that this model was trained on; None for those of `rated()`.

        Raises:
            DataError: the model has no such user or item, or `rated` is of another model.
            RunError: the user has no training ratings, or the ratings are not there.
        """
        if isinstance(user, FoldedUser):
            return explain.explain_folded(self.scorer, self._user_objective, user, item)
        return explain.explain(self.scorer, self._user_objective, user, item, rated or self.rated())

    def evaluate(
        self,
        ratings: object,
        rated: RunRatings | None = None,
        *,
        k: int = 10,
        relevant: float | None = None,
        users: int | None = None,
        device: str = "auto",
    ) -> Evaluation:
        """Compute RMSE, MAE and, given the training ratings, ranking metrics at k.

        Args:
            ratings: a table of any kind that `cofi_dist.fit` takes, or the path of files. The columns of a
                table are `user`, `item` and `value`, or are called as in the training data, as a file's are.
            rated: what `rated()` returns; its training ratings are left out of the lists. None: no lists are
                made, and there are no ranking metrics.
            k: length of a list.
            relevant: the lowest rating that makes a held-out item relevant; None: all are.
            users: about how many users are judged, always the same ones, as `validation.users` chooses them;
                None: all.
            device: `cpu`, `cuda`, or `auto`, which is `cuda` if there is one; the figures are the same.

        Raises:
            DataError: there are no ratings, one is not finite or appears twice, `rated` is of a model with
                other users or items, or a number is not positive.
        """
        # slow to import, and only an evaluation needs them
        from cofi_dist.model import evaluate
        from cofi_dist.model.held_out import HeldOut

        table = as_ratings(ratings, self.facts.columns, self.facts.feedback)
        held_out = HeldOut.from_table(self.users, self.items, table, self.facts.feedback)
        chosen = list_device(device)
        return evaluate.evaluate(
            self.scorer, held_out, rated, k=k, relevant=relevant, sample=users, device=chosen
        )

    def update(self, ratings: object, rated: RunRatings | None = None) -> "Model":
        """Return this model brought up to date with new ratings, of old and of new users and items.

        A new rating of a pair replaces the old one; strengths of events are added up. The users and items
        with new ratings are solved exactly on all their ratings: the users, then the items, then the users
        once more. All others stay as they are, bit for bit (docs/maths.md). What was joined is logged.

        Args:
            ratings: the path of files, or a table as `cofi_dist.fit` takes them; its columns are called as
                those that this model was trained on.
            rated: the ratings that this model was trained on; None for those of `rated()`.

        Returns:
            A model that comes with the joined ratings.

        Raises:
            CofiError: the ratings of either kind cannot be read or joined, or a user or item has no unique
                solution.
        """
        # its imports take time that only an update needs
        from cofi_dist.model.update import require_trained_on, update_model

        rated = self.rated() if rated is None else require_trained_on(self, rated)
        with throwaway_directory() as made:
            directory = made / "data"
            model, update = update_model(self, ratings, rated, directory, directory)
        for note in update.notes:
            logging.getLogger("cofi_dist").info(note)
        return model
