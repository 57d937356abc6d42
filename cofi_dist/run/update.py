"""Write the update of a run by new ratings, as the directory of a finished run."""

import time
from dataclasses import replace
from pathlib import Path

from cofi_dist.errors import RunError
from cofi_dist.files.atomic import atomic_directory
from cofi_dist.files.temporaries import clear_temporaries
from cofi_dist.files.written_file import write_failure
from cofi_dist.model import Model
from cofi_dist.model.run_ratings import RunRatings
from cofi_dist.model.update import Update, update_model
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run_layout import DATA, FOLDERS, is_run
from cofi_dist.run_result import UpdateRecord


def update_run(model: Model, ratings: object, rated: RunRatings, output: Path) -> Update:
    """Write a run directory with a model brought up to date and the joined ratings, whole or not at all.

    Args:
        model: of the run that is brought up to date.
        ratings: new ones, as `update_model` takes them.
        rated: the ratings that the model was trained on.
        output: the directory to make.

    Raises:
        CofiError: the directory exists or cannot be written; or as `update_model`.
    """
    try:
        return _update_run(model, ratings, rated, output)
    except RunError as error:
        if isinstance(error.__cause__, OSError):  # it names a temporary directory
            raise RunError(f"{output}: cannot be written: {write_failure(error.__cause__)}") from None
        raise


def _update_run(model: Model, ratings: object, rated: RunRatings, output: Path) -> Update:
    start = time.perf_counter()
    with atomic_directory(output) as temporary:
        new, kept_in = RunDirectory(temporary), output.absolute()
        updated, update = update_model(model, ratings, rated, new.data, kept_in / DATA)
        config = updated.config.model_copy(update={"run_dir": str(kept_in)})
        updated = replace(updated, config=config)
        updated.save(new.model)
        new.save_config(config.to_yaml())
        join = update.join
        record = UpdateRecord(
            of=str(model.loaded_from),
            ratings=join.num_new,
            replaced=join.num_again,
            held_out_before=join.num_moved,
            new_users=join.added_users,
            new_items=join.added_items,
        )
        result = {
            "epoch": None,
            "seconds": time.perf_counter() - start,
            "fingerprint": updated.facts.fingerprint,
            "update": record.model_dump(),
        }
        new.save_result(result)
        new.marker.touch()
    return update


def refuse_output(output: Path, run: Path) -> None:
    """Raise RunError if the directory of an update exists already, or would be part of the run's own files.

    Args:
        output: the directory to make.
        run: that is brought up to date, or the directory of its model.
    """
    clear_temporaries(output)  # of one that was killed
    if output.exists() or output.is_symlink():
        raise RunError(f"{output}: already exists; remove it or name another")
    own = [run / name for name in FOLDERS] if is_run(run) else [run]
    if any(output.resolve().is_relative_to(folder.resolve()) for folder in own):
        raise RunError(f"{output}: is where {run} has files of its own; name another directory")
