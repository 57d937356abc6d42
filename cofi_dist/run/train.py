"""Train a model: one run from config to model, started or resumed."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from cofi_dist.checkpoint.reader import Checkpoint, list_checkpoints, restore_state
from cofi_dist.config import Config, load_config
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.device import choose_device, min_free_memory
from cofi_dist.errors import SaveError
from cofi_dist.run.checkpointing import CheckpointCallback, checkpoint_callback
from cofi_dist.run.deadline import stop_time
from cofi_dist.run.directory import ProvisionalRun, RunDirectory
from cofi_dist.run.log import Log, NullLog, RunLog
from cofi_dist.run.outcome import save_divergence, save_outcome
from cofi_dist.run.resume import choose_checkpoint, log_changes
from cofi_dist.run.shard_table import describe_shards, shard_table
from cofi_dist.run.start import RunAction, StartRequest, check_start, prepare_run
from cofi_dist.run.stop import Phase, StopRequest
from cofi_dist.streams import log_stderr
from cofi_dist.training.build import build_trainer, describe_computation, notes_on_cost
from cofi_dist.training.problem import Problem, load_problem
from cofi_dist.training.state import State
from cofi_dist.training.trainer import DivergedError, Trainer
from cofi_dist.training.validation import Validation, build_validation
from cofi_dist.words import counted


def train(
    file: Path,
    overrides: Sequence[str],
    comm: Comm,
    *,
    replace: bool = False,
    quiet: bool = False,
    stop: StopRequest | None = None,
) -> Path:
    """Train as the config says, and return the run directory, which rank 0 writes.

    Collective: all ranks call it.

    Args:
        file: the YAML config.
        overrides: `KEY=VALUE` texts.
        comm: the ranks.
        replace: whether a run that is in the run directory may be deleted.
        quiet: whether to print nothing; train.log is written all the same.
        stop: whether this process has been asked to stop.

    Raises:
        CofiError: the config, the data or the run directory cannot be used, or training failed.
        StoppedError: the run stopped because it was asked to.
    """
    config = Config.model_validate(comm.from_rank_zero(lambda: _resolve(file, overrides)))
    run, stop = RunDirectory(config.run_dir), stop or StopRequest()
    stop.watch(run.path, comm.from_rank_zero(lambda: stop_time(config.train.deadline)))
    device = choose_device(config.device, comm)
    request = StartRequest(
        config=config,
        file=file,
        directory=run,
        device=device,
        world_size=comm.world_size,
        free_memory=min_free_memory(device, comm),
        replace=replace,
    )
    with ExitStack() as claimed, ProvisionalRun(run) as provisional:
        comm.from_rank_zero(lambda: check_start(request))
        comm.from_rank_zero(lambda: claimed.enter_context(run.claim()))
        action = RunAction(comm.from_rank_zero(lambda: prepare_run(request, provisional).value))
        if action is not RunAction.NOTHING:
            training = _Training(request, comm, stop, provisional, quiet=quiet)
            training.execute(resume=action is RunAction.RESUME)
        elif comm.rank == 0 and not quiet:
            _log_finished(run)
    return run.path


def _resolve(file: Path, overrides: Sequence[str]) -> dict[str, Any]:
    return load_config(file, overrides).model_dump(exclude_none=True)


def _log_finished(run: RunDirectory) -> None:
    """Log that there is nothing to do, and how to train longer."""
    advice = (
        "a higher train.epochs goes on with it"
        if list_checkpoints(run.checkpoints)
        else "it has no checkpoint to go on from: to train longer, begin anew in another run_dir, or with"
        " --replace and checkpoint.resume=none"
    )
    log_stderr(f"{run}: is finished; {advice}")


class _Training:
    """Hold one run, once its directory has been prepared.

    Args:
        request: the run, as it was started or resumed.
        comm: the ranks.
        stop: whether this process has been asked to stop.
        provisional: keeps the run once a step has been taken.
        quiet: whether to print nothing, as for a point of a grid.
    """

    def __init__(
        self,
        request: StartRequest,
        comm: Comm,
        stop: StopRequest,
        provisional: ProvisionalRun,
        *,
        quiet: bool,
    ) -> None:
        self._config, self._run, self._device = request.config, request.directory, request.device
        self._comm, self._stop, self._provisional, self._quiet = comm, stop, provisional, quiet

    def execute(self, *, resume: bool) -> None:
        """Load the ratings, restore the checkpoint if there is one, train, and save the outcome.

        Collective: all ranks call it.

        Args:
            resume: whether to resume the run in the run directory.
        """
        config, comm = self._config, self._comm
        problem, shard = load_problem(config, self._run.data, self._device, comm)
        validation = build_validation(problem, shard)
        checkpoint, notes = choose_checkpoint(problem, self._run, comm, resume=resume)
        trainer = build_trainer(problem, shard, comm, validation)
        del shard  # the cost holds the ratings in its own order
        if checkpoint is not None:
            notes += _restore(checkpoint, problem, trainer.state)
        comm.set_timeout(config.train.timeout)
        comm.barrier()
        with self._stop.phase(Phase.TRAINING), self._open_log(checkpoint, validation) as log:
            _log_start(problem, comm, log)
            notes = [*notes_on_cost(problem), *(validation.notes if validation else ()), *notes]
            for text in (describe_computation(problem), *notes):
                log.info(text)
            if checkpoint is not None:
                log_changes(checkpoint, config, self._device, log.info)
            self._record_start(problem)
            self._fit(problem, trainer, log, saved_epoch=trainer.state.epoch if resume else 0)

    def _open_log(self, checkpoint: Checkpoint | None, validation: Validation | None) -> Log:
        if self._comm.rank != 0:
            return NullLog()
        return RunLog(
            self._run.path,
            self._config.train.epochs,
            tensorboard=self._config.train.tensorboard,
            criterion=None if validation is None else validation.criterion,
            quiet=self._quiet,
            begun_at=0 if checkpoint is None else checkpoint.epoch,
        )

    def _record_start(self, problem: Problem) -> None:
        """Write what is known before the first step, and remove the result of the run that is resumed."""
        run, comm = self._run, self._comm
        comm.from_rank_zero(run.remove_result)
        comm.from_rank_zero(lambda: run.save_config(self._config.to_yaml()))
        comm.from_rank_zero(lambda: run.save_shards(describe_shards(problem, comm)))

    def _fit(self, problem: Problem, trainer: Trainer, log: Log, *, saved_epoch: int) -> None:
        """Take the steps, and save the outcome; after a divergence, the last good factors are saved."""
        run, comm, state = self._run, self._comm, trainer.state
        checkpoints = checkpoint_callback(
            problem, run, comm, self._stop, saved_epoch=saved_epoch, on_save=log.on_save
        )
        start = time.perf_counter() - state.seconds
        try:
            epoch, accuracy = trainer.run(log, _KeepOnceStepped(self._provisional, checkpoints))
        except DivergedError as error:
            with suppress(SaveError):  # the divergence is what has to be reported
                checkpoints.finish_save()
            if self._quiet:
                self._provisional.keep()  # the table of a grid reports the outcome of each point
            seconds = time.perf_counter() - start
            raise save_divergence(problem, run, state, comm, error, seconds=seconds) from None
        finally:
            checkpoints.close()
        seconds = time.perf_counter() - start
        save_outcome(problem, run, state, comm, epoch=epoch, accuracy=accuracy, seconds=seconds)


class _KeepOnceStepped:
    """Keep a new run as soon as it has taken a step, or has none to take; then call the next callback."""

    def __init__(self, provisional: ProvisionalRun, callback: CheckpointCallback) -> None:
        self._provisional, self._callback = provisional, callback

    def after_step(self, state: State) -> None:
        self._provisional.keep()
        self._callback.after_step(state)

    def finish(self, state: State) -> None:
        self._provisional.keep()
        self._callback.finish(state)


def _restore(checkpoint: Checkpoint, problem: Problem, state: State) -> list[str]:
    """Overwrite the state with that of the checkpoint; return lines to log about it."""
    restore_state(checkpoint, state, problem.users)
    ranks = counted(checkpoint.manifest.world_size, "rank")
    notes = [f"gone on with from {checkpoint.directory}, saved by {ranks}"]
    if checkpoint.manifest.numbers.best is not None and state.best.accuracy is None:
        notes.append("its best epoch was chosen by another figure; the best is looked for from here on")
    if state.epoch == problem.config.train.epochs:
        notes.append(
            f"nothing is left to train: that is of epoch {state.epoch}, the last by train.epochs; set it"
            " higher to go on"
        )
    return notes


def _log_start(problem: Problem, comm: Comm, log: Log) -> None:
    """Log how the ratings are spread over the ranks, and the notebook's first lines."""
    config, source, device = problem.config, problem.source, problem.device
    for text in source.notes:
        log.info(text)
    log.info(f"world size {comm.world_size}, backend {comm.backend(device)}")
    for text in shard_table(problem.ranges, problem.ratings_per_user, source.num_items, config):
        log.info(text)
    if device.type == "mps":
        log.info("mps has no float64: ratings, factors and costs are float32; not the notebook's bits")
    log.stdout_line(f"Using {device.type} device")
    log.stdout_line(f"Num. features: {config.model.num_features}")
    log.stdout_line(f"Num. movies:   {source.num_items}")
    log.stdout_line(f"Num. users:    {source.num_users}")
