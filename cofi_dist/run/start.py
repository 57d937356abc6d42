"""Start a run: check everything that may be refused before anything is deleted."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import torch

from cofi_dist.checkpoint.manifest import list_checkpoints
from cofi_dist.checkpoint.retention import clear_unfinished
from cofi_dist.config import Config
from cofi_dist.data.ids import digests
from cofi_dist.data.preparation.job import OnStep, say_nothing
from cofi_dist.data.readers.listing import Given, folders_and_files
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.data.sources.open import open_source, prepare_source, ratings_files
from cofi_dist.data.splits import held_out
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.run.directory import ProvisionalRun, RunDirectory
from cofi_dist.run.requirements import (
    has_same_length,
    require_blocks,
    require_enough_memory,
    require_held_out,
    require_prepared_alike,
    require_prepared_ratings,
)
from cofi_dist.run.resume import find_checkpoint, require_same_problem
from cofi_dist.run.start_model import StartModel, read_on_all_ranks, require_same_model
from cofi_dist.run_layout import CHECKPOINTS, MODEL
from cofi_dist.trackers.catalog import require_installed


class RunAction(Enum):
    """Describe what there is to do in a run directory."""

    START = "start"
    RESUME = "resume"
    NOTHING = "nothing"


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """Hold a run that is to be started or resumed.

    Attributes:
        config: the config of the run.
        file: the file that the config was read from, if any.
        directory: the run directory.
        device: this rank's device.
        world_size: number of ranks.
        free_memory: bytes that each rank may take.
        replace: whether a run that is in the directory may be deleted.
        given: the table of ratings, if the config says that it was given in Python; rank 0 has it.
        start_model: the model that a new run starts from, in place of the one that the config names.
        on_step: learns how far the preparation of the ratings has come.
    """

    config: Config
    file: Path | None
    directory: RunDirectory
    device: torch.device
    world_size: int
    free_memory: int
    replace: bool
    given: RatingsInput | None = None
    start_model: StartModel | None = None
    on_step: OnStep = say_nothing

    @property
    def may_resume(self) -> bool:
        """Tell whether the run in the directory, if there is one, is to be resumed."""
        return self.config.checkpoint.resume == "auto" and self.directory.is_run


def check_start(request: StartRequest) -> None:
    """Raise if the run can certainly not be started; nothing is touched.

    Raises:
        CofiError: says why.
    """
    config = request.config
    if config.checkpoint.resume == "auto" and request.replace:
        raise ConfigError(
            "--replace loses the run that checkpoint.resume=auto would go on with: leave one out"
        )
    if request.start_model is not None and (config.train.start or config.checkpoint.start_from):
        raise ConfigError(
            "start: a run starts from one model or checkpoint; give one, and leave the other out"
        )
    require_installed(config.train.loggers)
    require_blocks(config.train, request.device, request.world_size)
    if request.may_resume:
        request.directory.require_own_files()
    else:
        _require_free(request, replace=request.replace)


def prepare_run(request: StartRequest, provisional: ProvisionalRun) -> RunAction:
    """Prepare the directory for a new run, or for resuming the run in it; return what there is to do.

    Args:
        request: the run to start; its directory is claimed by this process.
        provisional: begins a new run.

    Raises:
        CofiError: the run cannot be started, or not in this directory.
    """
    replace = request.replace
    if request.may_resume:
        action = _action_for_existing_run(request.config, request.directory)
        if action is not RunAction.START:
            return action
        replace = True  # the existing run has nothing that could be lost
    # Checked once more: before the directory was claimed, another run may have begun and ended in it.
    _require_free(request, replace=replace)
    _begin(request, provisional)
    return RunAction.START


def _require_free(request: StartRequest, *, replace: bool) -> None:
    """Raise unless a new run may begin in the directory, which may hold none of its inputs."""
    config = request.config
    data, start_from = config.data, config.checkpoint.start_from
    inputs = [Path(name) for name in (data.y, data.r, data.prepared) if name]
    files: list[Given] = [split.file for split in held_out(data).values() if split.file]
    if data.ratings is not None or data.name is not None:
        files.append(ratings_files(data))
    inputs += [path for given in files for path in folders_and_files(given)]
    if start_from is not None:
        inputs += [start_from, start_from / CHECKPOINTS]
    if config.train.start is not None:
        inputs += [Path(config.train.start), Path(config.train.start) / MODEL]
    if request.file is not None:
        inputs.insert(0, request.file)
    request.directory.require_free(replace=replace, inputs=inputs)


def _action_for_existing_run(config: Config, run: RunDirectory) -> RunAction:
    """Return what there is to do with the run that is in the directory.

    Raises:
        CofiError: some of its work would be lost.
    """
    _refuse_update(run)
    require_prepared_alike(config, run)
    clear_unfinished(run.checkpoints)
    if run.is_finished and has_same_length(config, run):
        return RunAction.NOTHING
    if list_checkpoints(run.checkpoints):
        require_prepared_ratings(config.data, run)
        if config.validation.every is not None:
            require_held_out(config.data, open_source(config.data, run.data), run)
        return RunAction.RESUME
    if run.model.exists():
        raise RunError(
            f"{run}: holds a model and no checkpoint to go on from; give another run_dir, or lose it"
            " with --replace and checkpoint.resume=none (in Python: delete it)"
        )
    return RunAction.START  # it ended before its first checkpoint


def _refuse_update(run: RunDirectory) -> None:
    """Raise RunError if the directory holds the update of a run, in which nothing was trained."""
    result = run.read_result()
    if result is not None and result.update is not None:
        raise RunError(
            f"{run}: is the update of {result.update.of}, not a training that could go on; give another"
            f" run_dir, and start from this model with train.start={run}"
        )


def _begin(request: StartRequest, provisional: ProvisionalRun) -> None:
    """Prepare the ratings, check what depends on them, and only then begin the run in the directory."""
    config, run = request.config, request.directory
    start_from = config.checkpoint.start_from
    # Checkpoint and model are verified here too: no run may be deleted for one that cannot be started.
    checkpoint = find_checkpoint(start_from, SoloComm()) if start_from is not None else None
    model = find_start_model(request, SoloComm())
    if model is not None:
        model.require_fits(config)
    with prepare_source(config.data, run.data, request.given, request.on_step) as prepared:
        source = prepared.source
        require_enough_memory(config, source, request.world_size, request.device, request.free_memory)
        if config.validation.every is not None:
            require_held_out(config.data, source, run)
        if checkpoint is not None:
            require_same_problem(checkpoint, config, source, source.fingerprint(), digests(source.ids))
        if model is not None:
            model.require_overlap(source)
        provisional.begin()
        prepared.keep(run.data)


def find_start_model(request: StartRequest, comm: Comm) -> StartModel | None:
    """Return the model that a new run starts from; None if it starts from drawn factors.

    Collective: all ranks call it.

    Raises:
        CofiError: it cannot be read.
    """
    if request.start_model is not None:
        require_same_model(request.start_model, comm)
        return request.start_model
    path = request.config.train.start
    return None if path is None else read_on_all_ranks(Path(path), comm)
