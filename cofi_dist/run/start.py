"""How a run begins: everything that may be refused is, before its directory is cleared; by rank 0."""

import os
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path

import torch

from cofi_dist.checkpoint.reader import list_checkpoints
from cofi_dist.checkpoint.retention import clear_unfinished
from cofi_dist.config import Config, DataSection, TrainSection, load_config
from cofi_dist.config.diff import FIXED, PREPARED, changes, is_within
from cofi_dist.cost.dense import BYTES_PER_CELL
from cofi_dist.data.ids import digests
from cofi_dist.data.shard import AT_ONCE
from cofi_dist.data.sources.base import Source
from cofi_dist.data.sources.open import open_source, prepare_source, ratings_file
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import CheckpointError, ConfigError, RunError
from cofi_dist.run.directory import (
    begin_run,
    discard_run,
    remove_temporaries,
    require_free,
    require_own_files,
)
from cofi_dist.run.lock import Lock
from cofi_dist.run.log import require_tensorboard
from cofi_dist.run.resume import find_checkpoint, require_same_problem
from cofi_dist.run.stop import clear_stop_file
from cofi_dist.run_layout import CHECKPOINTS, CONFIG, DATA, MODEL, is_run
from cofi_dist.run_result import is_finished
from cofi_dist.sharding.ranges import balanced_ranges, ratings_per_range
from cofi_dist.system.memory import require_memory

# Of an entry of the factors: it, two moments or directions, its gradient, the best so far. What a run takes
# at least: one that might fit is not refused.
COPIES = 4
BYTES_PER_RATING = 28  # as it is read, and in both orders


class RunAction(Enum):
    """What there is to do in a run directory."""

    START = "start"
    RESUME = "resume"
    NOTHING = "nothing"


def prepare_run(
    config: Config,
    file: Path,
    device: torch.device,
    comm: Comm,
    free: int,
    held: ExitStack,
    undo: ExitStack,
    *,
    replace: bool,
) -> RunAction:
    """Take the run directory, for a new run or to go on with the one in it.

    Args:
        config: of the run.
        file: that it was read from.
        device: of rank 0.
        comm: the ranks; only their number is asked for.
        free: bytes that every rank may take.
        held: gets the lock of the directory.
        undo: gets what takes a new run back, as long as it has taken no step.
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
    if auto and is_run(run_dir):
        require_own_files(run_dir)
    else:
        _refuse(config, file, replace=replace)
    _claim(run_dir, held)
    if auto and is_run(run_dir):
        how = _action_for_existing_run(config, run_dir)
        if how is not RunAction.START:
            return how
        replace = True  # there is nothing to lose
    _refuse(config, file, replace=replace)  # again: a run may have come and gone before the lock was ours
    _begin(config, comm, free, undo)
    return RunAction.START


def _refuse(config: Config, file: Path, *, replace: bool) -> None:
    """Raise unless the run may begin in its directory; touches nothing."""
    data, named = config.data, config.checkpoint.start_from
    inputs = [Path(name) for name in (data.ratings, data.y, data.r, data.prepared) if name]
    if data.name is not None:
        inputs.append(ratings_file(data))
    if named is not None:
        inputs += [named, named / CHECKPOINTS]
    require_free(Path(config.run_dir), replace=replace, inputs=[file, *inputs])


def _claim(run_dir: Path, held: ExitStack) -> None:
    """Lock the directory; what earlier starts were asked, or left when they were killed, goes.

    Ratings are prepared in it, so that nobody does so twice, and what is left of that is known to be dead.
    """
    made = [path for path in (run_dir, *run_dir.parents) if not path.exists()]
    held.callback(_remove_empty, made)  # where nothing was begun
    held.enter_context(Lock(run_dir))
    clear_stop_file(run_dir)
    remove_temporaries(run_dir)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _action_for_existing_run(config: Config, run_dir: Path) -> RunAction:
    """What there is to do with the run that is there.

    Raises:
        CofiError: something of it would be lost.
    """
    _require_as_prepared(config, run_dir)
    clear_unfinished(run_dir / CHECKPOINTS)
    if is_finished(run_dir) and _is_of(config, run_dir):
        return RunAction.NOTHING
    if list_checkpoints(run_dir / CHECKPOINTS):
        _require_data(config.data, run_dir)
        if config.validation.every is not None:
            _require_held_out(config.data, open_source(config.data, run_dir / DATA), run_dir)
        return RunAction.RESUME
    if (run_dir / MODEL).exists():
        raise RunError(
            f"{run_dir}: holds a model and no checkpoint to go on from; give another run_dir, or lose it"
            " with --replace and checkpoint.resume=none"
        )
    return RunAction.START  # it was ended before its first checkpoint


def _require_data(data: DataSection, run_dir: Path) -> None:
    """Raise RunError where the ratings that checkpoints are of were prepared here, and are not."""
    if data.is_file and not (run_dir / DATA).exists():
        raise RunError(
            f"{run_dir}: holds checkpoints, but no {DATA}/ with ratings of a file that they are of; go"
            f" on in another run_dir with checkpoint.resume={run_dir}, or lose them with --replace and"
            " checkpoint.resume=none"
        )


def _require_as_prepared(config: Config, run_dir: Path) -> None:
    """Raise CheckpointError where a ratings file was prepared in the run otherwise than the config says.

    What was prepared stays, so the run would go on with that, whatever its config said.
    """
    if not (config.data.is_file and (run_dir / DATA).exists() and (run_dir / CONFIG).exists()):
        return
    was = load_config(run_dir / CONFIG)
    if config.data.ratings and was.data.ratings and _is_same(config.data.ratings, was.data.ratings):
        was = was.model_copy(update={"data": was.data.model_copy(update={"ratings": config.data.ratings})})
    for key, before, now in changes(was.model_dump(exclude_none=True), config):
        if is_within(key, PREPARED):
            raise CheckpointError(
                f"{run_dir}: its ratings were prepared with {key}: {before}, and stay so, but {key} is {now};"
                f" set it back, or begin in another run_dir (from this run with checkpoint.resume={run_dir})"
            )


def _is_same(one: str, other: str) -> bool:
    """Whether two names are one file's."""
    return Path(one).absolute() == Path(other).absolute() or os.path.realpath(one) == os.path.realpath(other)


def _require_blocks(train: TrainSection, device: torch.device, comm: Comm) -> None:
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


def _begin(config: Config, comm: Comm, free: int, undo: ExitStack) -> None:
    run_dir, named = Path(config.run_dir), config.checkpoint.start_from
    # read whole here too: a run that is there shall not be cleared for one that can't be begun from
    checkpoint = find_checkpoint(named, SoloComm()) if named is not None else None
    with prepare_source(config.data, run_dir / DATA) as prepared:
        source = prepared.source
        _require_memory(config, source, comm, free)
        if config.validation.every is not None:
            _require_held_out(config.data, source, run_dir)
        if checkpoint is not None:
            ids = digests(source.ids)
            require_same_problem(checkpoint, config, source, source.fingerprint(), ids)
        undo.callback(_discard_if_begun, run_dir)
        begin_run(run_dir)
        prepared.keep(run_dir / DATA)


def _discard_if_begun(run_dir: Path) -> None:
    if is_run(run_dir):
        discard_run(run_dir)


def _require_memory(config: Config, source: Source, comm: Comm, free: int) -> None:
    """Raise ConfigError where every rank's part of the run can't be held in what it may take."""
    train, items, K = config.train, source.num_items, config.model.num_features
    per_user = source.ratings_per_user()
    ranges = balanced_ranges(per_user, comm.world_size)
    users, ratings = max(map(len, ranges)), max(ratings_per_range(ranges, per_user))
    of_number = 8 if train.dtype == "float64" else 4
    where = f"{users} users and {items} items" if comm.world_size == 1 else f"a rank with {users} users"
    factors = COPIES * of_number * K * (users + items)
    require_memory(factors, free, f"model.num_features: learning {K} for {where}", "set fewer")
    if train.cost == "dense":
        need = BYTES_PER_CELL * users * items
        require_memory(need, free, "train.cost: dense", "set train.cost: sparse")
    else:
        need = factors + BYTES_PER_RATING * ratings
        require_memory(need, free, f"a rank with {ratings} ratings", "take more ranks, or fewer ratings")
    if train.blocks is not None:
        need = 8 * items * (train.blocks // comm.world_size)
        require_memory(need, free, f"train.blocks: {train.blocks} for {items} items", "set fewer")


def _require_held_out(data: DataSection, source: Source, run_dir: Path) -> None:
    """Raise ConfigError unless there is a rating to validate on."""
    if "validation" not in source.parts:
        store = data.prepared or run_dir / DATA
        again = "prepare it with" if data.prepared else "begin anew in another run_dir"
        raise ConfigError(
            f"validation.every: {store} was prepared without data.validation; {again}, or leave"
            " validation.every out"
        )
    per_user = source.ratings_per_user()
    pieces = balanced_ranges(per_user, 1 + int(per_user.sum()) // AT_ONCE)
    if not any(len(source.load(users, "validation")) for users in pieces):
        raise ConfigError(
            "data.validation: holds out none of these ratings; hold out more, or leave validation.every out"
        )
