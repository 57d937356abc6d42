"""Carry out one call of `fit`: meet the other ranks, train, and give every rank the whole model."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from cofi_dist.config import Config
from cofi_dist.data.readers.given import as_table, is_path
from cofi_dist.data.readers.given_table import GivenTable
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.handshake import Task
from cofi_dist.distributed.rendezvous import init_comm
from cofi_dist.errors import CofiError, ConfigError, TrainingError
from cofi_dist.files.atomic import scratch_directory
from cofi_dist.files.throwaway import throwaway_directory
from cofi_dist.fitting.arguments import Arguments
from cofi_dist.fitting.forks import FittingProcess
from cofi_dist.fitting.interrupt import FitStop
from cofi_dist.fitting.screens import LOGGER, choose_screen
from cofi_dist.kernels.cpu.jit import loops_may_run_at_once, numba_threads_restored
from cofi_dist.kernels.first_compilation import COMPILING, FirstCompilation
from cofi_dist.model import Model, RunRatings
from cofi_dist.model.history import read_history
from cofi_dist.run.deadline import stop_time
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.outcome import save_model
from cofi_dist.run.screen import Screen
from cofi_dist.run.train import finished_note, train_config
from cofi_dist.run.training_run import Learnt, Manner
from cofi_dist.system.memory import is_out_of_memory

_TURN = threading.Lock()


class Fitted(NamedTuple):
    """Hold what a call of `fit` returns, and what it warns of.

    Attributes:
        model: the whole model, on every rank.
        warning: why the training ended early, if it did; on rank 0.
    """

    model: Model
    warning: str


def run_fit(arguments: Arguments) -> Fitted:
    """Train a model as the arguments say.

    Collective: all ranks call it.

    Raises:
        CofiError: as for `fit`; the same on every rank.
    """
    with fitting("cofi_dist.fit", arguments.facts) as (comm, stop):
        return _Fit(arguments, comm, stop).run()


@contextmanager
def fitting(name: str, facts: Callable[[], Mapping[str, Any]]) -> Iterator[tuple[Comm, FitStop]]:
    """Yield the ranks, and the request to stop, of a call that trains.

    Collective: all ranks call it. At the end, the process is as it was before.

    Args:
        name: of the function that was called.
        facts: returns what must be the same on all ranks; see `Task`.

    Raises:
        CofiError: what one rank raised, on all of them.
    """
    FittingProcess.enter()
    stop = FitStop()
    with _turn_taken(), numba_threads_restored(), _cuda_device_restored(), stop.restoring():
        comm = init_comm(Task(name, facts))
        try:
            yield comm, stop
        except BaseException as error:
            raised = _as_cofi_error(error)
            told = comm.abandon(raised or TrainingError(f"{type(error).__name__}: {error}"))
            if raised is None:
                raise
            raise told from None
        comm.close()


def _as_cofi_error(error: BaseException) -> CofiError | None:
    """Return the error that says in one line what went wrong; None for a bug of ours, or an interrupt."""
    if is_out_of_memory(error):
        return TrainingError(f"there is not enough memory: {error}")
    return error if isinstance(error, CofiError) else None


@contextmanager
def _turn_taken() -> Iterator[None]:
    """Let the calls of several threads take turns, unless the compiled loops may run in several at once."""
    if loops_may_run_at_once():
        yield
    else:
        with _TURN:
            yield


def _has_cuda_device() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextmanager
def _cuda_device_restored() -> Iterator[None]:
    """Restore the current CUDA device at the end of the context, if there was one."""
    before = torch.cuda.current_device() if _has_cuda_device() else None
    try:
        yield
    finally:
        if before is not None:
            torch.cuda.set_device(before)


def source_of(ratings: object) -> tuple[dict[str, Any], GivenTable | None]:
    """Return the keys of the section `data` that say what ratings were given, and the table, if they are one.

    Raises:
        CofiError: they are neither a table nor a path.
    """
    if is_path(ratings):
        return {"ratings": ratings}, None
    if ratings is None:
        return {}, None
    table = as_table(ratings)
    return {"table": table.kind}, table


class _Fit:
    """Hold one call of `fit`, once the ranks have met.

    Args:
        arguments: of the call.
        comm: the ranks.
        stop: whether this process has been asked to stop.
    """

    def __init__(self, arguments: Arguments, comm: Comm, stop: FitStop) -> None:
        self._arguments, self._comm, self._stop = arguments, comm, stop
        self._given: GivenTable | None = None

    def run(self) -> Fitted:
        """Train, and return the model. Collective: all ranks call it."""
        comm, since = self._comm, time.time()
        with ExitStack() as stack:
            config = Config.model_validate(comm.from_rank_zero(self._resolve))
            run = self._directory(config, stack)
            self._stop.watch(run.path, comm.from_rank_zero(lambda: stop_time(config.train.deadline, since)))
            manner = Manner(
                screen=self._screen(),
                keeps_run=self._arguments.keeps_run,
                returns_early=True,
                callbacks=self._arguments.callbacks,
            )
            start = self._arguments.start_model
            learnt = train_config(config, run, comm, self._stop, manner, given=self._given, start=start)
            if learnt is None:
                LOGGER.info(finished_note(run))
                fitted = Fitted(Model.load(run.path), "")
            else:
                fitted = Fitted(self._complete(learnt, run), self._warning(learnt))
            comm.barrier()  # until then, another rank may be reading what is removed now
        return fitted

    def _warning(self, learnt: Learnt) -> str:
        return f"the training was {learnt.stopped}" if learnt.stopped and self._comm.rank == 0 else ""

    def _resolve(self) -> dict[str, Any]:
        """Take the ratings and return the resolved config; rank 0 calls it."""
        source, self._given = source_of(self._arguments.ratings)
        return self._arguments.config(source).model_dump(exclude_none=True)

    def _directory(self, config: Config, stack: ExitStack) -> RunDirectory:
        """Return the run directory; a temporary one is removed when the stack ends."""
        if self._arguments.keeps_run:
            return RunDirectory(config.run_dir)
        if self._comm.local_world_size < self._comm.world_size:
            raise ConfigError(
                "run_dir: several nodes share the ratings and the model through it; set it to a directory"
                " that all of them see",
                shared=True,
            )
        made = self._comm.from_rank_zero(lambda: str(stack.enter_context(throwaway_directory())))
        return RunDirectory(Path(made, "run"))

    def _screen(self) -> Screen:
        screen = choose_screen(self._arguments.progress)
        if self._comm.rank == 0:
            FirstCompilation.on_start(lambda: LOGGER.info(COMPILING))
        return screen

    def _complete(self, learnt: Learnt, run: RunDirectory) -> Model:
        """Return the whole model on every rank, with the ratings and the epochs of its training."""
        model = self._whole(learnt, run)
        return dataclasses.replace(
            model,
            loaded_from=run.path.absolute() if self._arguments.keeps_run else None,
            ratings=RunRatings(learnt.problem.source, (model.users, model.items)),
            epochs=read_history(run.model),
        )

    def _whole(self, learnt: Learnt, run: RunDirectory) -> Model:
        """Return the whole model on every rank: rank 0 may have it, and the others read what is saved."""
        comm, model = self._comm, learnt.model
        if comm.world_size == 1 and isinstance(model, Model):
            return model
        with ExitStack() as stack:
            saved = run.model
            if learnt.stopped:  # a run that was stopped has saved none
                scratch = comm.from_rank_zero(lambda: str(stack.enter_context(scratch_directory(run.model))))
                saved = Path(scratch, "model")
                save_model(model, saved, comm)
            whole = model if isinstance(model, Model) and comm.rank == 0 else Model.load(saved)
            comm.barrier()
        return whole
