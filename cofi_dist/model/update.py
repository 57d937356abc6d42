"""Bring a model up to date: join new ratings with its own, and solve the rows that they touch."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from cofi_dist.config import Config, DataSection, DuplicateRule
from cofi_dist.data.preparation.join import Join, JoinFacts, join_ratings, notes_on_join
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.ratings import EQUAL_RATINGS
from cofi_dist.data.readers.given import as_input, is_path
from cofi_dist.data.readers.layout import Advice
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.data.sources.base import Source
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.errors import DataError
from cofi_dist.model.arrays import ModelArrays
from cofi_dist.model.facts import TrainingDataFacts
from cofi_dist.model.history import history_table
from cofi_dist.model.run_ratings import RunRatings, require_run_ratings
from cofi_dist.model.trained import TrainedModel
from cofi_dist.update.factors import UpdatedFactors, update_factors

NAME_IT_SO = Advice("name it so, as in the data that the model was trained on")
M = TypeVar("M", bound=TrainedModel)


@dataclass(frozen=True)
class Update:
    """Hold what an update did, beside the model.

    Attributes:
        join: which rows are new, and how many ratings were joined.
        notes: lines about what was read and joined.
    """

    join: Join
    notes: list[str]


def update_model(
    model: M, ratings: object, rated: RunRatings, directory: Path, kept_in: Path
) -> tuple[M, Update]:
    """Return the model after an update, with the joined ratings.

    Args:
        model: the model.
        ratings: new ones: the path of files, or a table as `cofi_dist.fit` takes them, with the columns that
            the model's ratings were read from.
        rated: the ratings that the model was trained on.
        directory: for the joined ratings; made here.
        kept_in: where they will be, for the config of the model.

    Raises:
        CofiError: the new ratings cannot be read or joined, or a row has no unique solution.
    """
    facts, given = model.facts, as_input(ratings, NAME_IT_SO)
    about = _join_facts(model, rated.source, given)
    with _prepared(ratings, given, about, directory) as new:
        # what was read is said once, as what was joined; that few ratings are equal means nothing
        notes = [note for note in new.notes if not note.startswith("read ") and EQUAL_RATINGS not in note]
        directory.mkdir(parents=True)
        try:
            join = join_ratings(rated.source, rated.ids, new, new.ids, directory, about)
        except DataError as error:
            raise DataError(f"{given.name}: {error}") from None
    joined = StoredRatings(directory)
    before = UpdatedFactors(
        factors=model.factors,
        item_means=model.arrays.item_means,
        item_counts=model.arrays.item_counts,
        user_counts=model.arrays.user_counts,
    )
    after = update_factors(before, joined, join, model.config)
    updated = replace(
        model,
        arrays=ModelArrays.of(**vars(after)),
        facts=_updated_facts(facts, joined),
        users=joined.ids[0],
        items=joined.ids[1],
        config=_updated_config(model, kept_in),
        loaded_from=None,
        ratings=RunRatings(joined, joined.ids),
        epochs=history_table([]),
    )
    return updated, Update(join, [*notes, *notes_on_join(join, about)])


def _updated_config(model: TrainedModel, kept_in: Path) -> Config:
    """Return the model's config with the joined ratings, and without a model to start from: it is older."""
    data = DataSection(prepared=str(kept_in.absolute()), feedback=model.facts.feedback)
    train = model.config.train.model_copy(update={"start": None})
    return model.config.model_copy(update={"data": data, "train": train})


def require_trained_on(model: TrainedModel, rated: object) -> RunRatings:
    """Return ratings if they are those that a model was trained on.

    Raises:
        DataError: they are not.
    """
    found = require_run_ratings(rated)
    if found.source.fingerprint() != model.facts.fingerprint:
        raise DataError("rated holds other ratings than this model was trained with; give model.rated(run)")
    return found


def _join_facts(model: TrainedModel, old: Source, given: RatingsInput) -> JoinFacts:
    """Return what the joined ratings say of themselves."""
    data, facts = model.config.data, model.facts
    rule: DuplicateRule | None = data.duplicates
    if not data.is_prepared_by_run:
        rule = old.duplicates if isinstance(old, StoredRatings) else None
    if rule is None:  # arrays, made-up ratings, and what an earlier version prepared
        rule = "sum" if facts.is_implicit else "error"
    return JoinFacts(
        source=f"{model.loaded_from or 'a model'}, updated with {given.source}",
        feedback=facts.feedback,
        columns=facts.columns,
        centre=(data.centre, data.damping) if data.centre else old.centre,
        again="add" if rule == "sum" else "replace",
        duplicates=rule,
    )


@contextmanager
def _prepared(ratings: object, given: RatingsInput, about: JoinFacts, directory: Path) -> Iterator[Source]:
    """Prepare the new ratings beside a directory, for the time of the context."""
    source: dict[str, Any] = {"ratings" if is_path(ratings) else "table": given.source}
    data = DataSection(
        **source, feedback=about.feedback, columns=about.columns, duplicates=about.duplicates, centre="none"
    )
    with ExitStack() as stack:
        try:
            prepared = stack.enter_context(prepare_source(data, directory.with_name("new"), given))
        except DataError as error:  # the rule for duplicates is the run's, and nothing to be set
            raise DataError(str(error).partition(", or set data.duplicates")[0]) from None
        yield prepared.source


def _updated_facts(facts: TrainingDataFacts, joined: StoredRatings) -> TrainingDataFacts:
    """Return what the model knows of the joined ratings; its scale becomes no smaller."""
    (lowest, highest), fingerprint = joined.scale, joined.fingerprint()
    if facts.is_implicit:
        return replace(facts, fingerprint=fingerprint)
    return replace(
        facts,
        global_mean=joined.item_sums.global_mean,
        lowest=min(facts.lowest, lowest),
        highest=max(facts.highest, highest),
        fingerprint=fingerprint,
    )
