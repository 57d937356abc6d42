"""One training run from config to model, begun anew or gone on with; every rank calls `train`."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cofi_dist.checkpoint.reader import Checkpoint, list_checkpoints, restore_state
from cofi_dist.checkpoint.writer import CheckpointWriter
from cofi_dist.config import Config, load_config
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.device import choose_device, min_free_memory
from cofi_dist.errors import RunError, SaveError
from cofi_dist.run.checkpointing import CheckpointCallback
from cofi_dist.run.deadline import stop_time
from cofi_dist.run.directory import remove_result, require_run, save_config, save_result, save_shards
from cofi_dist.run.log import Log, NullLog, RunLog
from cofi_dist.run.outcome import gather_model
from cofi_dist.run.resume import choose_checkpoint, log_changes, manifest_fields
from cofi_dist.run.shard_table import describe_shards, shard_table
from cofi_dist.run.start import RunAction, prepare_run
from cofi_dist.run.stop import StopRequest
from cofi_dist.run_layout import CHECKPOINTS, DATA, METRICS, MODEL
from cofi_dist.streams import log_stderr
from cofi_dist.training.build import build_trainer, build_validation, describe_computation
from cofi_dist.training.problem import Problem, load_problem
from cofi_dist.training.state import State
from cofi_dist.training.trainer import DivergedError, Trainer
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
    """Train as the config says; rank 0 writes the run directory.

    Collective: all ranks call it.

    Args:
        file: YAML config.
        overrides: KEY=VALUE.
        comm: the ranks.
        replace: a run that the run directory holds may be lost.
        quiet: say nothing but in train.log.
        stop: whether this process was asked to stop.

    Returns:
        The run directory.

    Raises:
        CofiError: the config, the data or the run directory can't be used, or training failed.
        StoppedError: somebody asked the run to stop.
    """
    given = comm.from_rank_zero(lambda: load_config(file, overrides).model_dump(exclude_none=True))
    config = Config.model_validate(given)
    run_dir, stop = Path(config.run_dir), stop or StopRequest()
    end = comm.from_rank_zero(lambda: stop_time(config.train.deadline))
    device = choose_device(config.device, comm)
    free = min_free_memory(device, comm)
    with ExitStack() as held, ExitStack() as undo:
        opened = partial(prepare_run, config, file, device, comm, free, held, undo, replace=replace)
        how = RunAction(comm.from_rank_zero(lambda: opened().value))
        if how is not RunAction.NOTHING:
            _run(config, device, how, comm, stop, end, undo, quiet=quiet)
        elif comm.rank == 0 and not quiet:
            log_stderr(f"{run_dir}: is finished; {_how_to_train_longer(run_dir)}")
    return run_dir


def _how_to_train_longer(run_dir: Path) -> str:
    if list_checkpoints(run_dir / CHECKPOINTS):
        return "a higher train.epochs goes on with it"
    return (
        "it has no checkpoint to go on from: to train longer, begin anew in another run_dir, or with"
        " --replace and checkpoint.resume=none"
    )


def _run(
    config: Config,
    device: torch.device,
    how: RunAction,
    comm: Comm,
    stop: StopRequest,
    end: float,
    undo: ExitStack,
    *,
    quiet: bool,
) -> None:
    run_dir = Path(config.run_dir)
    problem, shard = load_problem(config, run_dir / DATA, device, comm)
    validation = build_validation(problem)
    checkpoint, notes = choose_checkpoint(problem, comm, resume=how is RunAction.RESUME)
    trainer = build_trainer(problem, shard, comm, validation)
    del shard  # the cost has the ratings in its own order
    if checkpoint is not None:
        restore_state(checkpoint, trainer.state, problem.users)
        ranks = counted(checkpoint.manifest.world_size, "rank")
        notes.append(f"gone on with from {checkpoint.directory}, saved by {ranks}")
        if trainer.state.epoch == config.train.epochs:
            notes.append(
                f"nothing is left to train: that is of epoch {trainer.state.epoch}, the last by"
                " train.epochs; set it higher to go on"
            )
    comm.set_timeout(config.train.timeout)
    comm.barrier()
    stop.watch(run_dir, end)
    stop.stepping = True  # to the end of the process: whoever is asked to stop ends first what is begun
    with _log(config, checkpoint, comm, quiet=quiet) as log:
        _say_start(problem, comm, log)
        for text in (describe_computation(problem), *notes):
            log.info(text)
        if checkpoint is not None:
            log_changes(checkpoint, config, device, log.info)
        comm.from_rank_zero(lambda: remove_result(run_dir))
        comm.from_rank_zero(lambda: save_config(run_dir, config.to_yaml()))
        comm.from_rank_zero(lambda: save_shards(run_dir, describe_shards(problem, comm)))
        saved_at = trainer.state.epoch if how is RunAction.RESUME else 0
        _fit(problem, trainer, comm, log, stop, undo, saved_at, in_grid=quiet)


def _log(config: Config, checkpoint: Checkpoint | None, comm: Comm, *, quiet: bool) -> Log:
    if comm.rank != 0:
        return NullLog()
    return RunLog(
        Path(config.run_dir),
        config.train.epochs,
        tensorboard=config.train.tensorboard,
        validates=config.validation.every is not None,
        quiet=quiet,
        begun_at=0 if checkpoint is None else checkpoint.epoch,
    )


def _say_start(problem: Problem, comm: Comm, log: Log) -> None:
    """The shards, and the notebook's first lines."""
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


class _Between:
    """Between two steps: once one is taken, or there is none left to take, what the run has made stays."""

    def __init__(self, keeper: CheckpointCallback, undo: ExitStack) -> None:
        self._keeper, self._undo = keeper, undo

    def after_step(self, state: State) -> None:
        self._undo.pop_all()
        self._keeper.after_step(state)

    def finish(self, state: State) -> None:
        self._undo.pop_all()
        self._keeper.finish(state)


def _fit(
    problem: Problem,
    trainer: Trainer,
    comm: Comm,
    log: Log,
    stop: StopRequest,
    undo: ExitStack,
    saved_at: int,
    *,
    in_grid: bool,
) -> None:
    """Train and save the model; that of the last good factors, if training went astray."""
    run_dir, settings, state = Path(problem.config.run_dir), problem.config.checkpoint, trainer.state
    saver = CheckpointWriter(
        run_dir / CHECKPOINTS,
        manifest_fields(problem, comm),
        problem.users,
        comm,
        settings.keep,
        # After a power cut, the metrics must reach as far as the checkpoint.
        synced_files=[run_dir / METRICS],
    )
    keeper = CheckpointCallback(
        saver,
        stop,
        comm,
        every=settings.every,
        max_failures=settings.max_failures,
        saved_at=saved_at,
        tell=log.on_save,
    )
    start = time.perf_counter() - state.seconds
    try:
        epoch, accuracy = trainer.run(log, _Between(keeper, undo))
    except DivergedError as error:
        with suppress(SaveError):  # that it diverged is to be said
            keeper.end_save()
        if in_grid:
            undo.pop_all()  # its table says of every point what came of it
        raise _keep_good(problem, trainer, comm, error, time.perf_counter() - start) from None
    finally:
        saver.wait()
    seconds = time.perf_counter() - start
    # what the last step left is of no further epoch
    result: dict[str, Any] = {"epoch": min(epoch, state.epoch), "steps": epoch - 1, "seconds": seconds}
    result["fingerprint"] = problem.fingerprint
    if accuracy is not None:
        result |= {"validation_rmse": accuracy.rmse, "validation_mae": accuracy.mae}
    _save(problem, trainer, comm)
    comm.from_rank_zero(lambda: _or_lost(lambda: save_result(run_dir, result)))


def _keep_good(
    problem: Problem, trainer: Trainer, comm: Comm, error: DivergedError, seconds: float
) -> DivergedError:
    """Save the model of the last good factors, if there are some; returns what is to be said of it."""
    run_dir = Path(problem.config.run_dir)
    kept = "there is no good epoch whose model could be kept"
    if error.kept is not None:
        kept = f"the model of epoch {error.kept} is kept in {run_dir / MODEL}"
        _save(problem, trainer, comm, diverged=str(error))
    diverged = {"epoch": error.kept, "seconds": seconds, "diverged": str(error)}
    diverged["fingerprint"] = problem.fingerprint
    comm.from_rank_zero(lambda: _or_lost(lambda: save_result(run_dir, diverged)))
    advice = "a lower train.lr" if problem.config.train.optimizer == "adam" else "a higher train.lambda_"
    return DivergedError(f"{error}; {kept}; try {advice}", error.kept)


def _save(problem: Problem, trainer: Trainer, comm: Comm, *, diverged: str = "") -> None:
    model = gather_model(problem, trainer.state.factors, comm, diverged)
    target = Path(problem.config.run_dir) / MODEL

    def save() -> None:
        require_run(target.parent)
        model.save(target, replace=True)  # that of the run that this one goes on with

    comm.from_rank_zero(lambda: _or_lost(save))


def _or_lost(save: Callable[[], None]) -> None:
    """What can't be written at the end of a run that could begin is no mistake of the user's."""
    try:
        save()
    except RunError as error:
        raise SaveError(
            f"{error}; what was saved before is as it was: go on from the last checkpoint, if there is one,"
            " with checkpoint.resume=auto"
        ) from None
