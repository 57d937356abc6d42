"""Search for the settings that predict held-out ratings best, from Python: `cofi_dist.tune`."""

import os
import shutil
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from cofi_dist.config import Config
from cofi_dist.data.readers.given_table import GivenTable
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CofiError, ConfigError, InterruptedTrainingWarning, StoppedError, TrainingError
from cofi_dist.files.reading import shortened
from cofi_dist.fitting.arguments import Arguments, Section
from cofi_dist.fitting.interrupt import FitStop
from cofi_dist.fitting.screens import LOGGER, LoggingScreen, is_notebook
from cofi_dist.fitting.session import fitting, source_of
from cofi_dist.model import Model
from cofi_dist.run.screen import StreamScreen
from cofi_dist.streams import log_stderr
from cofi_dist.tuning.journal import require_optuna
from cofi_dist.tuning.search import Search, Worker
from cofi_dist.tuning.space import check_space, parse_space, words_of
from cofi_dist.tuning.trials import findings


@dataclass(frozen=True)
class TuneResult:
    """Hold what a search has found.

    Attributes:
        settings: the best value of each key that varied.
        figure: what they reached on the validation ratings, by `validation.metric`.
        run_dir: the run directory of the best trial.
        table: a row for each trial, the best one first: trial, state (`done`, `pruned`, `diverged` or
            `unfinished`), the keys, the figures, epoch, seconds and run.
        importances: which part of the figure's differences each key explains; empty if fewer than ten trials
            are done.
    """

    settings: dict[str, Any]
    figure: float
    run_dir: Path
    table: pl.DataFrame
    importances: dict[str, float]

    def model(self) -> Model:
        """Return the model of the best trial."""
        return Model.load(self.run_dir)


def tune(
    ratings: object,
    space: Mapping[str, str | Sequence[Any]],
    *,
    trials: int,
    output: str | os.PathLike[str] | None = None,
    data: Section | None = None,
    model: Section | None = None,
    train: Section | None = None,
    validation: Section | None = None,
    checkpoint: Section | None = None,
    seed: int = 1,
    device: str = "auto",
    progress: bool = True,
) -> TuneResult:
    """Train models with settings that Optuna chooses, as `cofi-dist tune --space` does, and compare them.

    Needs Optuna. The arguments that `fit` has too mean the same; `validation.every` must be set. Ctrl-C ends
    the search after the current step; what was found so far is returned, with an InterruptedTrainingWarning.
    Under torchrun, all ranks call it, and each gets the result.

    Args:
        ratings: as for `fit`.
        space: by key of the config, a range such as `log:0.1:100` (or `uniform:`, `int:`, `log-int:`), or a
            list of values.
        trials: how many, together with those that are in `output` already.
        output: directory of the search, which later calls and the command go on with; None for a temporary
            one, which is removed together with the result.
        data: the section `data` of the config, as a mapping of its keys (docs/config.md).
        model: the section `model`, likewise.
        train: the section `train`.
        validation: the section `validation`.
        checkpoint: the section `checkpoint`.
        seed: seed of the initial factors, and of the search.
        device: `auto`, `cpu`, `cuda` or `mps`.
        progress: whether to print lines about the trials; if not, they are logged.

    Returns:
        The best settings, their figure and run, and the table of the trials.

    Raises:
        CofiError: an argument, the ratings or `output` cannot be used, a training failed, or no trial got a
            figure.
    """
    sections = {"data": data, "model": model, "train": train}
    sections |= {"validation": validation, "checkpoint": checkpoint}
    rest: dict[str, Any] = {"seed": seed, "device": device, "start": None, "progress": progress}
    return _tune(Arguments(ratings=ratings, sections=sections, run_dir=output, **rest), space, trials)


def _tune(arguments: Arguments, space: Mapping[str, Any], trials: int) -> TuneResult:
    """Search in a directory that stays, or in a temporary one."""
    temporary = None
    try:
        if not arguments.keeps_run:
            temporary = _temporary()
            arguments = replace(arguments, run_dir=temporary)
        result, warning = _Tune(arguments, space, trials, is_temporary=temporary is not None).run()
    except BaseException as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, CofiError):
            raise error.with_traceback(None) from None  # the message says it all: it is no bug of ours
        raise
    if temporary is not None:
        weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    if warning:
        warnings.warn(InterruptedTrainingWarning(warning), stacklevel=3)
    return result


def _temporary() -> str:
    try:
        return tempfile.mkdtemp(prefix="cofi_dist-")
    except OSError as error:
        raise ConfigError(f"TMPDIR: no temporary directory can be made ({error}); give output") from None


class _Tune:
    """Hold one call of `tune`.

    Args:
        arguments: those that `fit` has too; the directory of the search is their run_dir.
        space: as given.
        trials: as given.
        is_temporary: whether nobody else knows the directory.
    """

    def __init__(
        self, arguments: Arguments, space: Mapping[str, Any], trials: int, *, is_temporary: bool
    ) -> None:
        if not isinstance(space, Mapping):
            raise ConfigError(f"space: must be a mapping, such as a dict, not {shortened(space)}")
        if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
            raise ConfigError(f"trials: must be a whole number above 0, not {shortened(trials)}")
        if not isinstance(arguments.run_dir, str | os.PathLike):
            raise ConfigError(f"output: must be a path, not {shortened(arguments.run_dir)}")
        require_optuna()
        self._arguments, self._words, self._trials = arguments, words_of(space), trials
        self._is_temporary = is_temporary

    def run(self) -> tuple[TuneResult, str]:
        """Search; return the result, and why the search ended early, if it did. Collective."""
        since = time.time()
        with fitting("cofi_dist.tune", self._facts) as (comm, stop):
            if self._is_temporary and comm.world_size > 1:
                raise ConfigError("output: several ranks share the trials in it; set it", shared=True)
            tables: list[GivenTable | None] = []  # on rank 0
            source = comm.from_rank_zero(lambda: self._source(tables))
            search = self._search(source)
            warning = self._work(search, comm, stop, tables[0] if tables else None, since)
            found = findings(search, comm)
        best = found.best(search)
        if best is None:
            raise TrainingError(warning or f"no trial of {len(found.table)} has a figure; look at the space")
        return TuneResult(**best._asdict(), table=found.table, importances=found.importances), warning

    def _facts(self) -> dict[str, Any]:
        facts = self._arguments.facts()
        output = None if self._is_temporary else facts["run_dir"]
        return {**facts, "run_dir": output, "space": self._words, "trials": self._trials}

    def _source(self, tables: list[GivenTable | None]) -> dict[str, Any]:
        """Take the ratings; rank 0 calls it."""
        source, table = source_of(self._arguments.ratings)
        tables.append(table)
        return source

    def _search(self, source: dict[str, Any]) -> Search:
        def configure(settings: Sequence[str]) -> Config:
            return self._arguments.config(source, settings)

        space = parse_space(self._words, "space")
        given = [f"{key}=" for key in _keys(self._arguments.sections)]
        config, criterion = check_space(space, configure, given, "cofi_dist.tune", "space")
        output = Path(config.run_dir)
        return Search(space=space, configure=configure, config=config, criterion=criterion, output=output)

    def _work(self, search: Search, comm: Comm, stop: FitStop, given: GivenTable | None, since: float) -> str:
        """Train the trials, and return why that ended early, if it did."""
        is_shown = self._arguments.progress
        say: Callable[[str], object] = LOGGER.info
        if is_shown:
            say = print if is_notebook() else log_stderr  # a notebook shows stderr in red boxes
        screen = StreamScreen(quiet=True) if is_shown and not is_notebook() else LoggingScreen()
        worker = Worker(
            search=search,
            trials=self._trials,
            comm=comm,
            stop=stop,
            screen=screen,
            say=say,
            given=given,
            since=since,
        )
        try:
            worker.work()
        except StoppedError as stopped:
            return f"the search was {stopped}"
        return ""


def _keys(sections: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that sections set."""
    for key, value in sections.items():
        if isinstance(value, Mapping) and value:
            yield from _keys(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}"
