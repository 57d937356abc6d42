"""Judge the model of a run for a page about it: figures with intervals, and lists of some users."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from cofi_dist.errors import DataError
from cofi_dist.model import Evaluation, Model, RunRatings
from cofi_dist.model.evaluate import evaluate
from cofi_dist.model.held_out import HeldOut
from cofi_dist.report.sample_lists import SampleLists, sample_lists

MOST_JUDGED = 20_000  # users; of more, about so many are judged


@dataclass(frozen=True)
class JudgedModel:
    """Hold what is measured of a model for a page.

    Attributes:
        evaluation: on the held-out part; None if nothing was held out, or of no user.
        lists: of some users.
        num_items: number of items of the model.
    """

    evaluation: Evaluation | None
    lists: SampleLists
    num_items: int


def judge_model(
    model: Model,
    rated: RunRatings,
    titles: Mapping[str, str],
    k: int,
    on_progress: Callable[[int, int], object] | None = None,
) -> JudgedModel:
    """Judge the model of a run on its held-out part.

    Args:
        model: of the run.
        rated: the run's ratings.
        titles: of the items, by raw id as text.
        k: length of a list.
        on_progress: called after each batch with the number of its users, and of all users.
    """
    lists = sample_lists(model, rated, titles, k)
    found = None
    if lists.part is not None:
        with suppress(DataError):  # the part is empty, or none of its users is in the sample
            found = evaluate(
                model.scorer,
                HeldOut.from_run(rated, lists.part),
                rated,
                k=k,
                sample=MOST_JUDGED if len(model.users) > MOST_JUDGED else None,
                on_progress=on_progress,
            )
    return JudgedModel(found, lists, len(model.items))
