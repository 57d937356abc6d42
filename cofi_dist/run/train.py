"""Train a model: one run from config to model, started or resumed."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.config import Config, load_config
from cofi_dist.data.preparation.job import OnStep, say_nothing
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.device import choose_device, min_free_memory
from cofi_dist.model import Model
from cofi_dist.run.deadline import stop_time
from cofi_dist.run.directory import ProvisionalRun, RunDirectory
from cofi_dist.run.screen import StreamScreen
from cofi_dist.run.start import RunAction, StartRequest, check_start, prepare_run
from cofi_dist.run.start_model import StartModel
from cofi_dist.run.stop import StopRequest
from cofi_dist.run.training_run import Learnt, Manner, TrainingRun
from cofi_dist.streams import log_stderr


def train(
    file: Path,
    overrides: Sequence[str],
    comm: Comm,
    *,
    replace: bool = False,
    quiet: bool = False,
    stop: StopRequest | None = None,
    on_step: OnStep = say_nothing,
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
        on_step: learns how far the preparation of the ratings has come, on rank 0.

    Raises:
        CofiError: the config, the data or the run directory cannot be used, or training failed.
        StoppedError: the run stopped because it was asked to.
    """
    config = Config.model_validate(comm.from_rank_zero(lambda: _resolve(file, overrides)))
    run = RunDirectory(config.run_dir)
    manner = Manner(screen=StreamScreen(quiet=quiet), on_step=on_step, keeps_diverged=quiet)
    stop = stop or StopRequest()
    stop.watch(run.path, comm.from_rank_zero(lambda: stop_time(config.train.deadline)))
    learnt = train_config(config, run, comm, stop, manner, file=file, replace=replace)
    if learnt is None and comm.rank == 0 and not quiet:
        log_stderr(finished_note(run))
    return run.path


def train_config(
    config: Config,
    run: RunDirectory,
    comm: Comm,
    stop: StopRequest,
    manner: Manner,
    *,
    file: Path | None = None,
    replace: bool = False,
    given: RatingsInput | None = None,
    start: Model | None = None,
) -> Learnt | None:
    """Train as a resolved config says, and return what was learnt; None if the run is finished already.

    Collective: all ranks call it.

    Args:
        config: the same on all ranks.
        run: the run directory.
        comm: the ranks.
        stop: whether this process has been asked to stop.
        manner: how the run is carried out.
        file: the file that the config was read from, if any.
        replace: whether a run that is in the run directory may be deleted.
        given: the table of ratings, if the config says that it was given in Python; rank 0 has it.
        start: the model that a new run starts from, equal on all ranks, in place of `train.start`.

    Raises:
        CofiError: as for `train`.
    """
    device = choose_device(config.device, comm, config.train.backend)
    request = StartRequest(
        config=config,
        file=file,
        directory=run,
        device=device,
        world_size=comm.world_size,
        free_memory=min_free_memory(device, comm),
        replace=replace,
        given=given,
        start_model=None if start is None else StartModel(start),
        on_step=manner.on_step,
    )
    with ExitStack() as claimed, ProvisionalRun(run) as provisional:
        comm.from_rank_zero(lambda: check_start(request))
        comm.from_rank_zero(lambda: claimed.enter_context(run.claim(stop.on_lock_lost)))
        todo = RunAction(comm.from_rank_zero(lambda: prepare_run(request, provisional).value))
        if todo is RunAction.NOTHING:
            return None
        return TrainingRun(request, comm, stop, provisional, manner).execute(resume=todo is RunAction.RESUME)


def _resolve(file: Path, overrides: Sequence[str]) -> dict[str, Any]:
    return load_config(file, overrides).model_dump(exclude_none=True)


def finished_note(run: RunDirectory) -> str:
    """Say that there is nothing to do, and how to train longer."""
    advice = (
        "a higher train.epochs goes on with it"
        if list_checkpoints(run.checkpoints)
        else "it has no checkpoint to go on from: to train longer, begin anew in another run_dir, or with"
        " --replace and checkpoint.resume=none"
    )
    return f"{run}: is finished; {advice}"
