"""Train a model on a table, a file or another source of ratings, and return it."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

from cofi_dist.errors import CofiError, InterruptedTrainingWarning
from cofi_dist.fitting.arguments import Arguments, Section
from cofi_dist.fitting.session import run_fit
from cofi_dist.model import Model
from cofi_dist.trackers import Callback


def fit(
    ratings: object = None,
    *,
    data: Section | None = None,
    model: Section | None = None,
    train: Section | None = None,
    validation: Section | None = None,
    checkpoint: Section | None = None,
    seed: int = 1,
    device: str = "auto",
    start: str | os.PathLike[str] | Model | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
    callbacks: Sequence[Callback] = (),
) -> Model:
    """Train a model as `cofi-dist train` does; on the same ratings, all its numbers have the same bits.

    Ctrl-C ends the training after the current step; what was learnt so far is returned, with an
    InterruptedTrainingWarning. Under torchrun, all ranks call it, and each gets the whole model.

    Args:
        ratings: a table, the path of files, or a list of paths; None if `data` names another source. Of
            several ranks, those of rank 0 are used.
        data: the section `data` of the config, as a mapping of its keys (docs/config.md).
        model: the section `model`, likewise.
        train: the section `train`.
        validation: the section `validation`.
        checkpoint: the section `checkpoint`.
        seed: seed of the initial factors.
        device: `cpu`, `cuda`, `mps`, or `auto` for the best of them.
        start: a model, or the path of a model or of a run, from which the training starts.
        run_dir: where the run is kept, as the command keeps it; None to keep nothing on the disk.
        progress: None for a bar, in a notebook or on a terminal; True for the lines of the command; False for
            neither.
        callbacks: receive reports of the run; those of rank 0 are called. See `cofi_dist.Callback`.

    Returns:
        The trained model; with validation, that of the best epoch.

    Raises:
        CofiError: an argument, the ratings or the run directory cannot be used, or the training failed.
    """
    sections = {"data": data, "model": model, "train": train}
    sections |= {"validation": validation, "checkpoint": checkpoint}
    rest: dict[str, Any] = {"seed": seed, "device": device, "start": start, "run_dir": run_dir}
    rest |= {"progress": progress, "callbacks": callbacks}
    return _fit(Arguments(ratings=ratings, sections=sections, **rest))


def _fit(arguments: Arguments) -> Model:
    try:
        fitted = run_fit(arguments)
    except CofiError as error:
        raise error.with_traceback(None) from None  # the message says it all: it is no bug of ours
    if fitted.warning:
        warnings.warn(InterruptedTrainingWarning(fitted.warning), stacklevel=3)
    return fitted.model
