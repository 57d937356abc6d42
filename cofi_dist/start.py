"""How a run begins: everything that may be refused is, before its directory is touched; by rank 0."""

from contextlib import ExitStack
from enum import Enum
from pathlib import Path

import torch

from cofi_dist.checkpoint.load import found_in
from cofi_dist.checkpoint.save import clear_unfinished
from cofi_dist.config import Config, Data, Train, load_config
from cofi_dist.config.changes import FIXED, changes, is_within
from cofi_dist.cost.dense import require_memory
from cofi_dist.data.shards import TILE_RATINGS, plan
from cofi_dist.data.sources import Source, prepare, ratings_file
from cofi_dist.distributed import Comm
from cofi_dist.errors import CheckpointError, ConfigError, RunError
from cofi_dist.lock import Lock
from cofi_dist.rundir import (
    CHECKPOINTS,
    CONFIG,
    DATA,
    MODEL,
    begin_run,
    is_finished,
    is_run,
    refuse_run,
    require_ours,
)
from cofi_dist.runlog import require_tensorboard
from cofi_dist.stop import clear_stop_file


class How(Enum):
    """What there is to do in a run directory."""

    ANEW = "begin"
    AGAIN = "go on"
    DONE = "nothing"


def open_run(
    config: Config, file: Path, device: torch.device, comm: Comm, held: ExitStack, *, replace: bool
) -> How:
    """Take the run directory, for a new run or to go on with the one in it.

    Args:
        config: of the run.
        file: that it was read from.
        device: of rank 0.
        comm: the ranks; only their number is asked for.
        held: gets the lock of the directory.
        replace: a run that is there may be lost.

    Raises:
        CofiError: the run can't be begun, or not there.
    """
    run_dir, auto = Path(config.run_dir), config.checkpoint.resume == "auto"
    if auto and replace:
        raise ConfigError(
            "--replace loses the run that checkpoint.resume=auto would go on with: leave one out"
        )
    if config.train.tensorboard:
        require_tensorboard()
    _require_blocks(config.train, device, comm)
    locked = auto and is_run(run_dir)
    if locked:
        require_ours(run_dir)
        held.enter_context(Lock(run_dir))
        clear_stop_file(run_dir)
        if is_finished(run_dir) and _is_of(config, run_dir):
            return How.DONE
        clear_unfinished(run_dir / CHECKPOINTS)
        if found_in(run_dir / CHECKPOINTS):
            _require_data(config.data, run_dir)
            return How.AGAIN
        if (run_dir / MODEL).exists():
            raise RunError(
                f"{run_dir}: holds a model and no checkpoint to go on from; give another run_dir, or lose it"
                " with --replace and checkpoint.resume=none"
            )
        replace = True  # it was ended before its first checkpoint, so there is nothing to lose
    _begin(config, file, device, comm, None if locked else held, replace=replace)
    return How.ANEW


def _require_data(data: Data, run_dir: Path) -> None:
    """Raise RunError where the ratings that checkpoints are of were prepared here, and are not."""
    if data.is_file and not (run_dir / DATA).exists():
        raise RunError(
            f"{run_dir}: holds checkpoints, but no {DATA}/ with ratings of a file that they are of; go"
            f" on in another run_dir with checkpoint.resume={run_dir}, or lose them with --replace and"
            " checkpoint.resume=none"
        )


def _require_blocks(train: Train, device: torch.device, comm: Comm) -> None:
    """Raise ConfigError where sums can't be the same on any number of ranks, though they shall."""
    if train.blocks is None:
        return
    if train.blocks < comm.world_size:
        raise ConfigError(
            f"train.blocks: {train.blocks} are too few for {comm.world_size} ranks; set a higher power of two"
        )
    if device.type != "cpu":
        raise ConfigError(
            f"train.reduction: invariant is for the CPU so far, not for {device.type}; take fast"
        )


def _is_of(config: Config, run_dir: Path) -> bool:
    """Whether the run that is there, finished, is of as many epochs.

    Raises:
        CheckpointError: it is of another problem.
    """
    theirs = load_config(run_dir / CONFIG)
    asked, done = config.train, theirs.train
    if (done.epochs, done.tolerance) != (asked.epochs, asked.tolerance):
        return False
    was = theirs.model_dump(exclude_none=True)
    # which ratings a file holds is not known yet, but what is made up, and what is downloaded
    decisive = (*FIXED, "data.synthetic", "data.name", "seed")
    changed = [key for key, *_ in changes(was, config) if is_within(key, decisive)]
    if changed and not config.checkpoint.allow_changes:
        raise CheckpointError(
            f"{run_dir}: holds a finished run of another problem: {', '.join(changed)} differ; begin anew in"
            " another run_dir, or with --replace and checkpoint.resume=none"
        )
    return True


def _begin(
    config: Config, file: Path, device: torch.device, comm: Comm, held: ExitStack | None, *, replace: bool
) -> None:
    run_dir, data = Path(config.run_dir), config.data
    inputs = [Path(name) for name in (data.ratings, data.y, data.r, data.prepared) if name]
    if data.name is not None:
        inputs.append(ratings_file(data))
    refuse_run(run_dir, replace=replace, inputs=[file, *inputs])
    with prepare(data, run_dir / DATA) as prepared:
        source = prepared.source
        if config.train.cost == "dense":
            ranges = plan(source.ratings_per_user(), comm.world_size)
            require_memory(ranges, source.num_items, device, comm.ranks_here)
        if config.validation.every is not None:
            _require_held_out(config.data, source)
        if held is not None:
            held.enter_context(Lock(run_dir))
            clear_stop_file(run_dir)
        begin_run(run_dir)
        prepared.keep(run_dir / DATA)


def _require_held_out(data: Data, source: Source) -> None:
    """Raise ConfigError unless there is a rating to validate on."""
    if "validation" not in source.parts:
        raise ConfigError(
            f"validation.every: {data.prepared} was prepared without data.validation;"
            " prepare it with, or leave validation.every out"
        )
    per_user = source.ratings_per_user()
    pieces = plan(per_user, 1 + int(per_user.sum()) // TILE_RATINGS)
    if not any(len(source.load(users, "validation")) for users in pieces):
        raise ConfigError(
            "data.validation: holds out none of these ratings; hold out more, or leave validation.every out"
        )
