"""Carry out one run in its prepared directory: load, train, save the outcome, and return what was learnt."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cofi_dist.checkpoint.reader import Checkpoint
from cofi_dist.data.preparation.job import OnStep, say_nothing
from cofi_dist.data.shard import UserShard
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.device import ranks_per_device
from cofi_dist.errors import SaveError, StoppedError
from cofi_dist.factors import Factors
from cofi_dist.model import Model
from cofi_dist.run.callbacks import callback_group, finished
from cofi_dist.run.checkpointing import (
    CheckpointCallback,
    StopCallback,
    UnsavedStopError,
    checkpoint_callback,
)
from cofi_dist.run.directory import ProvisionalRun, RunDirectory
from cofi_dist.run.log import Log, NullLog, RunLog
from cofi_dist.run.outcome import SharedModel, learnt_model, save_divergence, save_outcome
from cofi_dist.run.pruning import Judge, PrunedError, Pruning
from cofi_dist.run.resume import choose_checkpoint, log_changes, restore
from cofi_dist.run.screen import Screen
from cofi_dist.run.shard_table import describe_shards, shard_table
from cofi_dist.run.start import StartRequest, find_start_model
from cofi_dist.run.stop import Phase, StopRequest
from cofi_dist.trackers import Callback, Outcome
from cofi_dist.training.build import build_trainer, describe_computation, initial_factors, notes_on_cost
from cofi_dist.training.metrics import Accuracy
from cofi_dist.training.problem import Problem, load_problem
from cofi_dist.training.state import State
from cofi_dist.training.trainer import DivergedError, Trainer
from cofi_dist.training.validation import Validation, build_validation


@dataclass(frozen=True, kw_only=True)
class Manner:
    """Say how a run is carried out, apart from what its config decides.

    Attributes:
        screen: shows the run; None for stdout and stderr.
        judge: says after a validation whether to end the run; None to let it go on. All ranks have one.
        on_step: learns how far the preparation of the ratings has come, on rank 0.
        keeps_diverged: a run that diverges before its first step is kept all the same, for a grid's table.
        keeps_run: the run directory stays; if not, no checkpoint is saved, and one rank saves no model.
        returns_early: a run that is stopped returns the factors learnt so far, in place of an error.
        callbacks: get reports of the run; those of rank 0.
    """

    screen: Screen | None = None
    judge: Judge | None = None
    on_step: OnStep = say_nothing
    keeps_diverged: bool = False
    keeps_run: bool = True
    returns_early: bool = False
    callbacks: Sequence[Callback] = ()


@dataclass(frozen=True)
class Learnt:
    """Hold what a run has learnt.

    Attributes:
        model: whole on rank 0, and of their own rows on the other ranks; or in parts, of which each has one.
        problem: the problem that was trained on.
        stopped: why the run ended early, if it did.
    """

    model: Model | SharedModel
    problem: Problem
    stopped: str = ""


@dataclass(frozen=True)
class _Ended:
    """Say how a training has ended.

    Attributes:
        epoch: the epoch before whose step the factors were as they are now.
        accuracy: theirs, if it was measured.
        stopped: why the run was stopped, if it was.
        pruned: why the run was pruned, if it was.
    """

    epoch: int
    accuracy: Accuracy | None
    stopped: str = ""
    pruned: str = ""


class TrainingRun:
    """Hold one run, once its directory has been prepared.

    Args:
        request: the run, as it was started or resumed.
        comm: the ranks.
        stop: whether this process has been asked to stop.
        provisional: keeps the run once a step has been taken.
        manner: how it is carried out.
    """

    def __init__(
        self,
        request: StartRequest,
        comm: Comm,
        stop: StopRequest,
        provisional: ProvisionalRun,
        manner: Manner,
    ) -> None:
        self._request = request
        self._config, self._run, self._device = request.config, request.directory, request.device
        self._comm, self._stop, self._provisional, self._manner = comm, stop, provisional, manner

    def execute(self, *, resume: bool) -> Learnt:
        """Load the ratings, restore the checkpoint if there is one, train, and save the outcome.

        Collective: all ranks call it.

        Args:
            resume: whether to resume the run in the run directory.
        """
        config, comm = self._config, self._comm
        problem, shard = load_problem(config, self._run.data, self._device, comm)
        validation = build_validation(problem, shard)
        checkpoint, notes = choose_checkpoint(problem, self._run, comm, resume=resume)
        factors = initial_factors(problem)
        if checkpoint is None:
            notes += self._start_from_model(problem, shard, factors)
        trainer = build_trainer(problem, shard, comm, validation, factors)
        del shard  # the cost holds the ratings in its own order
        if checkpoint is not None:
            notes += restore(checkpoint, problem, trainer.state)
        comm.set_timeout(config.train.timeout)
        comm.barrier()
        with self._stop.phase(Phase.TRAINING), self._open_log(problem, checkpoint, validation) as log:
            _log_start(problem, comm, log)
            notes = [*notes_on_cost(problem), *(validation.notes if validation else ()), *notes]
            for text in (describe_computation(problem), *notes):
                log.info(text)
            if checkpoint is not None:
                log_changes(checkpoint, config, self._device, log.info)
            self._record_start(problem)
            return self._fit(problem, trainer, log, saved_epoch=trainer.state.epoch if resume else 0)

    def _start_from_model(self, problem: Problem, shard: UserShard, factors: Factors) -> list[str]:
        """Overwrite drawn factors by those of a model, if the run starts from one; return lines to log."""
        model = find_start_model(self._request, self._comm)
        return [] if model is None else model.start(problem, shard, factors, self._comm)

    def _open_log(
        self, problem: Problem, checkpoint: Checkpoint | None, validation: Validation | None
    ) -> Log:
        if self._comm.rank != 0:
            return NullLog()
        epoch = 0 if checkpoint is None else checkpoint.epoch
        callbacks = self._manner.callbacks
        return RunLog(
            self._run.path,
            self._config.train.epochs,
            callbacks=callback_group(problem, self._comm, self._kept_run, self._stop, callbacks, epoch=epoch),
            criterion=None if validation is None else validation.criterion,
            screen=self._manner.screen,
            begun_at=epoch,
        )

    @property
    def _kept_run(self) -> RunDirectory | None:
        """Return the run directory, if it stays."""
        return self._run if self._manner.keeps_run else None

    def _record_start(self, problem: Problem) -> None:
        """Write what is known before the first step, and remove the result of the run that is resumed."""
        run, comm = self._run, self._comm
        if not self._manner.keeps_run:
            return
        comm.from_rank_zero(run.remove_result)
        comm.from_rank_zero(lambda: run.save_config(self._config.to_yaml()))
        comm.from_rank_zero(lambda: run.save_shards(describe_shards(problem, comm)))

    def _fit(self, problem: Problem, trainer: Trainer, log: Log, *, saved_epoch: int) -> Learnt:
        """Take the steps, and save the outcome; after a divergence, the last good factors are saved."""
        run, comm, state = self._run, self._comm, trainer.state
        callback = self._callback(problem, log, saved_epoch)
        start = time.perf_counter() - state.seconds
        try:
            ended = self._take_steps(trainer, log, callback)
        except DivergedError as error:
            with suppress(SaveError):  # the divergence is what has to be reported
                callback.finish_save()
            if self._manner.keeps_diverged:
                self._provisional.keep()
            seconds = time.perf_counter() - start
            raise save_divergence(
                problem, run, state, comm, error, seconds=seconds, keeps_run=self._manner.keeps_run
            ) from None
        finally:
            callback.close()
        seconds = time.perf_counter() - start
        model = learnt_model(problem, state.factors, comm)
        if (self._manner.keeps_run or comm.world_size > 1) and not ended.stopped:
            save_outcome(
                *(problem, run, model, state, comm),
                epoch=ended.epoch,
                accuracy=ended.accuracy,
                seconds=seconds,
                pruned=ended.pruned,
            )
        log.on_end(self._outcome(ended, state))
        return Learnt(model, problem, ended.stopped)

    def _outcome(self, ended: _Ended, state: State) -> Outcome:
        if ended.stopped:
            return Outcome(status="stopped", message=ended.stopped)
        message = f"pruned {ended.pruned}" if ended.pruned else ""
        epoch = min(ended.epoch, state.epoch)
        return finished(self._kept_run, epoch, ended.accuracy, message)

    def _take_steps(self, trainer: Trainer, log: Log, callback: CheckpointCallback | StopCallback) -> _Ended:
        """Train, and say how that ended."""
        keeping = _KeepOnceStepped(self._provisional, callback)
        judge, best = self._manner.judge, trainer.state.best
        try:
            if judge is None:
                return _Ended(*trainer.run(log, keeping))
            pruning = Pruning(judge, self._config.train.epochs, self._comm, log, keeping)
            return _Ended(*trainer.run(pruning, pruning))
        except PrunedError as pruned:
            callback.finish_save()
            log.info(f"pruned {pruned}")
            best.restore()
            assert best.epoch is not None, "it was judged by a figure of its own"
            return _Ended(best.epoch, best.accuracy, pruned=str(pruned))
        except (StoppedError, UnsavedStopError) as stopped:
            if not self._manner.returns_early:
                raise
            return _Ended(trainer.state.epoch, None, stopped=f"{stopped}{_restore_best(trainer)}")

    def _callback(self, problem: Problem, log: Log, saved_epoch: int) -> CheckpointCallback | StopCallback:
        if not self._manner.keeps_run:
            return StopCallback(self._stop, self._comm)
        return checkpoint_callback(
            problem, self._run, self._comm, self._stop, saved_epoch=saved_epoch, on_save=log.on_save
        )


def _restore_best(trainer: Trainer) -> str:
    """Set the factors of a run that was stopped to the best ones, if they were validated; say so.

    Raises:
        DivergedError: they were not, and the factors are not finite.
    """
    best = trainer.state.best
    if best.accuracy is None:
        trainer.require_finite_factors()
        return "; the factors are as they were then"
    best.restore()
    return f"; the factors are the best so far, those of epoch {best.epoch}"


class _KeepOnceStepped:
    """Keep a new run as soon as it has taken a step, or has none to take; then call the next callback."""

    def __init__(self, provisional: ProvisionalRun, callback: CheckpointCallback | StopCallback) -> None:
        self._provisional, self._callback = provisional, callback

    def after_step(self, state: State) -> None:
        self._provisional.keep()
        self._callback.after_step(state)

    def finish(self, state: State) -> None:
        self._provisional.keep()
        self._callback.finish(state)


def _log_start(problem: Problem, comm: Comm, log: Log) -> None:
    """Log how the ratings are spread over the ranks, and the notebook's first lines."""
    config, source, device = problem.config, problem.source, problem.device
    for text in source.notes:
        log.info(text)
    log.info(f"world size {comm.world_size}, backend {comm.backend(device)}")
    if (ranks := ranks_per_device(device, comm)) > 1:
        log.info(f"{ranks} ranks share a CUDA device: gloo carries their sums, over the host's memory")
    table = shard_table(problem.ranges, problem.ratings_per_user, source.num_items, config, device.type)
    for text in table:
        log.info(text)
    if device.type == "mps":
        log.info("mps has no float64: ratings, factors and costs are float32; not the notebook's bits")
    log.stdout_line(f"Using {device.type} device")
    log.stdout_line(f"Num. features: {config.model.num_features}")
    log.stdout_line(f"Num. movies:   {source.num_items}")
    log.stdout_line(f"Num. users:    {source.num_users}")
