"""Read and write the outcome of a run as `result.json` records it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cofi_dist.errors import RunError
from cofi_dist.files.reading import read_failure
from cofi_dist.files.records import Record, read_record
from cofi_dist.run_layout import MODEL, RESULT

Count = Annotated[int, Field(ge=0, le=2**53)]


class UpdateRecord(Record):
    """Say what an update joined with the ratings of a run.

    Attributes:
        of: directory of the run, or model, that was brought up to date.
        ratings: new ratings.
        replaced: those of pairs that had a rating; of events, those that were added up.
        held_out_before: those of pairs that were held out.
        new_users, new_items: users and items that the run did not have.
    """

    of: Annotated[str, Field(max_length=4096)]
    ratings: Count
    replaced: Count
    held_out_before: Count
    new_users: Count
    new_items: Count


class Result(Record):
    """Hold the content of `result.json`.

    Attributes:
        epoch: the epoch whose factors (before its step, or after the last step) are in the model; None if no
            epoch had a finite cost.
        steps: number of steps that led to these factors; None in older files and after a divergence.
        seconds: duration of the training.
        fingerprint: fingerprint of the ratings.
        validation_rmse, validation_mae: errors of the model, if it was validated by one of them.
        validation_ndcg, validation_recall, validation_precision, validation_map, validation_hit_rate: that by
            which it was validated, if by one of these.
        diverged: what was no longer finite, and when this was noticed; empty if the run did not diverge.
        pruned: after which epoch, and why, a search ended the run early; empty if none did.
        update: what was joined, if the model is the update of another one and was not trained here.
    """

    epoch: Annotated[int, Field(ge=0, le=2**53)] | None
    steps: Annotated[int, Field(ge=0, le=2**53)] | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    fingerprint: Annotated[str, Field(max_length=200)]
    validation_rmse: float | None = None
    validation_mae: float | None = None
    validation_ndcg: float | None = None
    validation_recall: float | None = None
    validation_precision: float | None = None
    validation_map: float | None = None
    validation_hit_rate: float | None = None
    diverged: Annotated[str, Field(max_length=4096)] = ""
    pruned: Annotated[str, Field(max_length=4096)] = ""
    update: UpdateRecord | None = None

    def validation(self, metric: str) -> float | None:
        """Return a figure on the validation ratings by the name of its metric; None if there is none."""
        figure: float | None = getattr(self, f"validation_{metric}")
        return figure


def read_result(run_dir: Path) -> Result | None:
    """Return the outcome of the run in a directory, or None if it has not ended.

    Raises:
        RunError: the file cannot be read, or is not what a run writes.
    """
    file = run_dir / RESULT
    try:
        return read_record(file, Result)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; if the run is to go on, remove it") from None


def is_finished(run_dir: Path) -> bool:
    """Return whether the run in a directory has completed: its model is saved, and nothing ended it early.

    Raises:
        RunError: `result.json` cannot be read.
    """
    result = read_result(run_dir)
    if result is None or result.diverged or result.pruned:
        return False
    return (run_dir / MODEL).exists()
