"""Choose the checkpoint that a run starts from, and check that it belongs to the same problem."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cofi_dist.checkpoint.manifest import FILE, Draws
from cofi_dist.checkpoint.reader import Checkpoint, find_newest, read_verified, restore_state
from cofi_dist.config import Config
from cofi_dist.config.diff import FIXED, FREE, changes, is_within
from cofi_dist.data.sources.base import Source
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CheckpointError
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run_layout import CHECKPOINTS
from cofi_dist.system.hardware import hardware_and_versions
from cofi_dist.training.problem import Problem
from cofi_dist.training.state import State
from cofi_dist.words import counted


def choose_checkpoint(
    problem: Problem, run: RunDirectory, comm: Comm, *, resume: bool
) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint that the run starts from, if any, and lines to log about the choice.

    Collective: all ranks call it.

    Args:
        problem: the problem to train on.
        run: the run directory.
        comm: the ranks.
        resume: whether to resume the run in the run directory, from its newest complete checkpoint.

    Raises:
        CheckpointError: the checkpoint cannot be used, or belongs to another problem.
    """
    config = problem.config
    named = config.checkpoint.start_from
    notes: list[str] = []
    checkpoint: Checkpoint | None = None
    if resume:
        checkpoint, rejected = find_newest(run.checkpoints, comm)
        notes = [f"not taken: {text}" for text in rejected]
        if checkpoint is None:
            notes.append(f"no checkpoint in {run.checkpoints} is whole: begun anew")
    elif named is not None:
        checkpoint = find_checkpoint(named, comm)
    if checkpoint is not None:
        require_same_problem(checkpoint, config, problem.source, problem.fingerprint, problem.ids)
    return checkpoint, notes


def find_checkpoint(path: Path, comm: Comm) -> Checkpoint:
    """Return the checkpoint at a path, or the newest complete one of the run at that path.

    Collective: all ranks call it.

    Raises:
        CheckpointError: there is none, or it is not complete.
    """
    if comm.from_rank_zero(lambda: _is_checkpoint(path)):
        return read_verified(path, comm)
    checkpoint, rejected = find_newest(path / CHECKPOINTS, comm)
    if checkpoint is None:
        why = rejected[0] if rejected else "there is none"
        raise CheckpointError(f"{path}: holds no whole checkpoint: {why}", shared=True)
    return checkpoint


def _is_checkpoint(path: Path) -> bool:
    """Return whether a path is to be read as a checkpoint, rather than as a run with checkpoints."""
    try:
        return (path / FILE).exists() or not (path / CHECKPOINTS).is_dir()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None


def require_same_problem(
    checkpoint: Checkpoint, config: Config, source: Source, fingerprint: str, ids: dict[str, str]
) -> None:
    """Raise unless a checkpoint belongs to the problem that the config and the ratings define.

    Args:
        checkpoint: the checkpoint to start from.
        config: the config of the new run.
        source: the ratings of the new run.
        fingerprint: the fingerprint of the source.
        ids: digests of the source's id maps.

    Raises:
        CheckpointError: names what differs.
    """
    manifest, directory = checkpoint.manifest, checkpoint.directory
    has = (manifest.num_users, manifest.num_items, manifest.num_features)
    needs = (source.num_users, source.num_items, config.model.num_features)
    if has != needs:
        raise CheckpointError(
            f"{directory}: has {has[0]} users, {has[1]} items and {has[2]} features; the run has {needs[0]},"
            f" {needs[1]} and {needs[2]}",
            shared=True,
        )
    _require_same_ids(checkpoint, config, fingerprint, ids)
    _require_same_optimizer(checkpoint, config)
    _require_its_biases(checkpoint, config)
    changed = [key for key, *_ in changes(manifest.config, config) if is_within(key, FIXED)]
    if manifest.fingerprint != fingerprint:
        changed.insert(0, "the ratings")
    if changed and not config.checkpoint.allow_changes:
        raise CheckpointError(
            f"{directory}: is of another problem: {', '.join(changed)} differ; begin anew in another"
            " run_dir, or set checkpoint.allow_changes: true",
            shared=True,
        )
    if checkpoint.epoch > config.train.epochs:
        raise CheckpointError(
            f"{directory}: is of epoch {checkpoint.epoch}, beyond train.epochs: {config.train.epochs}; set"
            f" train.epochs to {checkpoint.epoch} or more, or begin anew in another run_dir",
            shared=True,
        )


def _require_same_optimizer(checkpoint: Checkpoint, config: Config) -> None:
    """Raise CheckpointError if the saved state is not that of the run's optimiser."""
    manifest, directory = checkpoint.manifest, checkpoint.directory
    if (manifest.numbers.optimizer is None) != (config.train.optimizer == "adam"):
        raise CheckpointError(
            f"{directory}: is not of {config.train.optimizer}; train.optimizer cannot change on the way:"
            " begin anew in another run_dir",
            shared=True,
        )
    if isinstance(manifest.numbers.optimizer, Draws) != (config.train.average is not None):
        raise CheckpointError(
            f"{directory}: train.average cannot be set or left out on the way: begin anew in another run_dir",
            shared=True,
        )


def _require_its_biases(checkpoint: Checkpoint, config: Config) -> None:
    """Raise CheckpointError if user biases were learnt that the run would neither use nor move."""
    model = checkpoint.manifest.config.get("model")
    had_biases = not isinstance(model, dict) or model.get("user_bias", True)
    if had_biases and not config.model.user_bias:
        raise CheckpointError(
            f"{checkpoint.directory}: has learnt user biases, which model.user_bias: false leaves out; set"
            " model.user_bias: true, or begin anew in another run_dir",
            shared=True,
        )


def _require_same_ids(checkpoint: Checkpoint, config: Config, fingerprint: str, ids: dict[str, str]) -> None:
    """Raise CheckpointError if the rows belong to other users or items; no setting allows that."""
    manifest, directory = checkpoint.manifest, checkpoint.directory
    if manifest.ids is not None:
        others = [side for side, digest in manifest.ids.model_dump().items() if digest != ids[side]]
        if others:
            raise CheckpointError(
                f"{directory}: holds rows of other {' and '.join(others)} than the ratings do, by their ids;"
                " begin anew in another run_dir, where train.start may name the model of this run",
                shared=True,
            )
        return
    numbered = _is_numbered(manifest.config) and _is_numbered(config.model_dump(exclude_none=True))
    if manifest.fingerprint != fingerprint and not numbered:
        raise CheckpointError(
            f"{directory}: is of other ratings and of an earlier build, which did not record whose rows it"
            " holds; begin anew in another run_dir",
            shared=True,
        )


def _is_numbered(config: dict[str, Any]) -> bool:
    """Return whether the ids of a config's ratings are row numbers."""
    data = config.get("data")
    return isinstance(data, dict) and not data.keys().isdisjoint({"y", "synthetic"})


def log_changes(
    checkpoint: Checkpoint, config: Config, device: torch.device, log: Callable[[str], None]
) -> None:
    """Log each config key that has changed since the checkpoint and matters, and each change of hardware."""
    manifest = checkpoint.manifest
    if config.train.reduction == "invariant":
        for name, now in hardware_and_versions(device).items():
            before = manifest.versions.get(name, "not recorded")
            if before != now:
                log(f"bits may differ from an undisturbed run's: {name} is {now}, was {before}")
    for key, before, now in changes(manifest.config, config):
        if not is_within(key, FREE):
            log(f"changed: {key} is {now}, was {before}")


def restore(checkpoint: Checkpoint, problem: Problem, state: State) -> list[str]:
    """Overwrite the state with that of the checkpoint; return lines to log about it."""
    restore_state(checkpoint, state, problem.users, problem.own_item_ranges)
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
