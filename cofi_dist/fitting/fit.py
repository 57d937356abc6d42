"""Train a model on a table, a file or another source of ratings, and return it."""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from cofi_dist.distributed.handshake import Task
from cofi_dist.distributed.rendezvous import init_comm
from cofi_dist.fitting.settings import Section, require_nothing_to_keep, resolve_settings
from cofi_dist.model import Model, RunRatings
from cofi_dist.model.history import read_history
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.screen import StreamScreen
from cofi_dist.run.stop import StopRequest
from cofi_dist.run.train import train_config
from cofi_dist.run.training_run import Learnt, Manner


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
    start: "str | os.PathLike[str] | Model | None" = None,
    run_dir: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Model:
    """Train a model, as `cofi-dist train` does: on the same ratings, its factors have the same bits.

    Args:
        ratings: a table of ratings or the path of a file with them (docs/api.md); None if `data` names
            another source.
        data: section of the config (docs/config.md), as a mapping; as are the next four.
        model: section of the config.
        train: section of the config.
        validation: section of the config.
        checkpoint: section of the config.
        seed: of the initial factors.
        device: `auto`, `cpu`, `cuda` or `mps`.
        start: a model, or the directory of one or of its run, that the training starts from.
        run_dir: a new directory, in which the run is kept as the command keeps it; None to keep nothing.
        progress: None to show a bar, in a notebook or on a terminal; True to print the command's lines;
            False to show nothing.

    Returns:
        The model, with `history`, and with the ratings that it was trained on.

    Raises:
        CofiError: an argument, the ratings or the run directory cannot be used, or training failed.
    """
    sections = {
        "data": data,
        "model": model,
        "train": train,
        "validation": validation,
        "checkpoint": checkpoint,
    }
    folder = None if run_dir is None else os.fspath(run_dir)
    with tempfile.TemporaryDirectory(prefix="cofi_dist-") as temporary:
        return _fit(ratings, sections, Path(temporary), folder, {"seed": seed, "device": device}, progress)


def _fit(
    ratings: object,
    sections: dict[str, Section | None],
    temporary: Path,
    run_dir: str | None,
    rest: dict[str, Any],
    progress: bool | None,
) -> Model:
    comm = init_comm(Task("cofi_dist.fit", dict))
    given = dict(sections["data"] or {})
    if isinstance(ratings, pl.DataFrame):
        file = temporary / "ratings.parquet"
        ratings.write_parquet(file)
        given["ratings"] = str(file)
    elif ratings is not None:
        given["ratings"] = os.fspath(ratings)  # type: ignore[call-overload]
    config = resolve_settings({**sections, "data": given}, run_dir=run_dir, **rest)
    if run_dir is None:
        require_nothing_to_keep(config)
    run = RunDirectory(config.run_dir if run_dir else temporary / "run")
    manner = Manner(
        screen=StreamScreen(quiet=not progress), keeps_run=run_dir is not None, returns_early=True
    )
    learnt = train_config(config, run, comm, StopRequest(), manner)
    return Model.load(run.path) if learnt is None else _with_memories(learnt, run)


def _with_memories(learnt: Learnt, run: RunDirectory) -> Model:
    """Return the model with its history and its ratings."""
    model = learnt.model
    ratings = RunRatings(learnt.problem.source, (model.users, model.items))
    return dataclasses.replace(model, epochs=read_history(run.model), ratings=ratings)
