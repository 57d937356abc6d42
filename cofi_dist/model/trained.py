"""Hold a trained model as data; save it, load it, and open the ratings that it was trained on."""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from cofi_dist.config import Config
from cofi_dist.data.ids import IdMap
from cofi_dist.errors import RunError
from cofi_dist.files.atomic import atomic_directory
from cofi_dist.model import store
from cofi_dist.model.arrays import ModelArrays, NotFiniteError
from cofi_dist.model.facts import TrainingDataFacts
from cofi_dist.model.history import read_history
from cofi_dist.model.run_ratings import RunRatings, open_run_ratings
from cofi_dist.words import counted

if TYPE_CHECKING:
    from torch import Tensor

    from cofi_dist.factors import Factors

# K features.


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainedModel:
    """Hold a trained model as data; `Model` adds what can be done with it.

    The factors are as training left them, bit for bit. A row without training ratings holds the remains of
    its random start; wherever the model is used, it counts as an unknown user or item. Two models are equal
    only if they are the same object; compare their `tensors`.

    `factors`, `item_means`, `item_counts` and `user_counts` are tensors that share the memory of `arrays`.
    They are made at the first use, which imports torch.
    """

    arrays: ModelArrays
    """The factors, and the means and counts of their rows, as numpy arrays: `X`, `W`, `b` and others."""
    facts: TrainingDataFacts
    """What the model knows of its training ratings, such as their lowest and highest."""
    users: IdMap
    """The users: `users.raw` is a series of their ids, in the order of the rows of W."""
    items: IdMap
    """The items: `items.raw` is a series of their ids, in the order of the rows of X."""
    config: Config
    """What the model was trained with."""
    loaded_from: Path | None = None
    """The directory that the model was loaded from; None if it was not."""
    ratings: RunRatings | None = None
    """The ratings that it was trained on, if they are in memory; neither saved nor pickled."""
    epochs: pl.DataFrame | None = None
    """What `history` returns; None to read it from the run that the model was loaded from."""

    def __repr__(self) -> str:
        train, facts = self.config.train, self.facts
        scale = f"ratings from {facts.lowest:g} to {facts.highest:g}"
        learnt_from = "events" if facts.is_implicit else scale
        return (
            f"Model({counted(len(self.users), 'user')}, {counted(len(self.items), 'item')},"
            f" {counted(self.arrays.X.shape[1], 'feature')}; {train.optimizer}, lambda {train.lambda_:g};"
            f" {learnt_from}{', diverged' * bool(self.facts.diverged)})"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: neither the ratings, nor what is computed at the first use."""
        kept = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**kept, "ratings": None}

    @cached_property
    def tensors(self) -> "dict[str, Tensor]":
        """Return every tensor by its name in the files."""
        import torch  # slow to import, and most uses of a model need none of it

        return {name: torch.from_numpy(array) for name, array in self.arrays.by_name.items()}

    @cached_property
    def factors(self) -> "Factors":
        """Return X (num_items, K), W (num_users, K), b (1, num_users), and c (1, num_items) or None."""
        from cofi_dist.factors import Factors  # torch

        return Factors(**{name: self.tensors[name] for name in ("X", "W", "b", "c") if name in self.tensors})

    @property
    def item_means(self) -> "Tensor":
        """Return what was subtracted from each item's ratings, (num_items,) float64."""
        return self.tensors["item_means"]

    @property
    def item_counts(self) -> "Tensor":
        """Return the number of training ratings of each item, (num_items,) float64."""
        return self.tensors["item_counts"]

    @property
    def user_counts(self) -> "Tensor":
        """Return the number of training ratings of each user, (num_users,) float64."""
        return self.tensors["user_counts"]

    def save(self, directory: str | Path, *, replace: bool = False) -> None:
        """Write the model into a directory that appears whole or not at all.

        Args:
            directory: where to write; it must not exist yet.
            replace: it may exist, and is replaced.

        Raises:
            RunError: the directory exists or can't be written, or a number of the model is not finite.
        """
        about = store.About(self.facts, self.users, self.items, self.config)
        try:
            with atomic_directory(Path(directory), replace=replace) as temporary:
                store.write(temporary, self.arrays, about)
        except NotFiniteError as error:
            raise RunError(f"{directory}: {error}; nothing was written") from None

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Load a model from its directory, or from that of the run which holds it.

        The factors are mapped into memory, so a model keeps their file open, also after its directory was
        removed or replaced.

        Args:
            directory: that of a run, or what `save` or a run has written as a model.

        Raises:
            CofiError: there is no model, or one of its files isn't what it should be.
        """
        arrays, about = store.read(store.find(Path(directory)))
        return cls(arrays=arrays, **about._asdict(), loaded_from=Path(directory).absolute())

    @property
    def history(self) -> pl.DataFrame:
        """Return a table of the printed epochs: `epoch`, `cost`, `seconds` and the figures of the validation.

        There are no rows if the model comes without them, as a copy of a model's own directory does.

        Raises:
            RunError: the run's file of metrics is damaged.
        """
        return read_history(self.loaded_from) if self.epochs is None else self.epochs

    def rated(self, run: str | Path | None = None, prepared: str | Path | None = None) -> RunRatings:
        """Open the ratings that the model was trained on, for lists, `evaluate`, `explain` and `update`.

        Args:
            run: directory of the model's run; None for the ratings that the model came with, or those of
                the directory that it was loaded from.
            prepared: where the run's prepared ratings are now, if they were moved.

        Raises:
            CofiError: the ratings are not there, or are not the model's.
        """
        if run is None and prepared is None and self.ratings is not None:
            return self.ratings
        directory = self.loaded_from if run is None else Path(run)
        if directory is None:
            raise RunError(
                "this model has come without its ratings, which are neither saved nor pickled with it; name"
                " the directory of its run: model.rated(run)"
            )
        return open_run_ratings(
            directory,
            None if prepared is None else Path(prepared),
            config=self.config,
            fingerprint=self.facts.fingerprint,
            ids=(self.users, self.items),
        )
