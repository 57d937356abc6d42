"""Going on with a run: from which checkpoint, and whether it is one of this problem."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cofi_dist import __version__
from cofi_dist.checkpoint.manifest import FILE, Manifest
from cofi_dist.checkpoint.reader import find_newest, read_verified
from cofi_dist.config import Config
from cofi_dist.config.diff import FIXED, FREE, changes, is_within
from cofi_dist.data.sources.base import Source
from cofi_dist.distributed import Comm
from cofi_dist.errors import CheckpointError
from cofi_dist.run.directory import CHECKPOINTS
from cofi_dist.system.hardware import hardware_and_versions
from cofi_dist.training.problem import Problem


def manifest_fields(problem: Problem, comm: Comm) -> dict[str, Any]:
    """What a checkpoint's manifest says of the run."""
    return {
        "num_users": problem.source.num_users,
        "num_items": problem.source.num_items,
        "num_features": problem.config.model.num_features,
        "dtype": str(problem.dtype).removeprefix("torch."),
        "world_size": comm.world_size,
        "fingerprint": problem.fingerprint,
        "ids": problem.ids,
        "config": problem.config.model_dump(exclude_none=True),
        "versions": {
            "cofi_dist": __version__,
            "python": platform.python_version(),
            "threads": str(torch.get_num_threads()),
            **hardware_and_versions(problem.device),
        },
    }


def checkpoint_for(
    problem: Problem, again: bool, comm: Comm
) -> tuple[Path | None, Manifest | None, list[str]]:
    """The checkpoint to go on from, if any; and what is to be said about it.

    Collective: all ranks call it.

    Args:
        problem: of the run.
        again: whether the run directory holds a run to go on with.
        comm: the ranks.

    Raises:
        CheckpointError: the one that the config names can't be used, or is of another problem.
    """
    config = problem.config
    named = config.checkpoint.start_from
    notes: list[str] = []
    directory: Path | None
    manifest: Manifest | None
    if again:
        mine = Path(config.run_dir) / CHECKPOINTS
        directory, manifest, refused = find_newest(mine, comm)
        notes = [f"not taken: {text}" for text in refused]
        if manifest is None:
            notes.append(f"no checkpoint in {mine} is whole: begun anew")
    elif named is not None:
        directory, manifest = find_checkpoint(named, comm)
    else:
        return None, None, []
    if manifest is not None and directory is not None:
        require_same_problem(manifest, directory, config, problem.source, problem.fingerprint, problem.ids)
    return directory, manifest, notes


def find_checkpoint(path: Path, comm: Comm) -> tuple[Path, Manifest]:
    """The checkpoint at a path, or the newest whole one of the run there; and its manifest.

    Collective: all ranks call it.

    Raises:
        CheckpointError: there is none, or it is not whole.
    """
    if comm.on_first(lambda: _is_no_run(path)):
        return path, read_verified(path, comm)
    directory, manifest, refused = find_newest(path / CHECKPOINTS, comm)
    if directory is None or manifest is None:
        why = refused[0] if refused else "there is none"
        raise CheckpointError(f"{path}: holds no whole checkpoint: {why}", shared=True)
    return directory, manifest


def _is_no_run(path: Path) -> bool:
    try:
        return (path / FILE).exists() or not (path / CHECKPOINTS).is_dir()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None


def require_same_problem(
    manifest: Manifest,
    directory: Path,
    config: Config,
    source: Source,
    fingerprint: str,
    ids: dict[str, str],
) -> None:
    """Raise CheckpointError where the checkpoint is not of the config's problem on the source's ratings.

    Args:
        manifest: of the checkpoint.
        directory: of it.
        config: of the run.
        source: of the ratings.
        fingerprint: of the source.
        ids: digests of its id maps.
    """
    has = (manifest.num_users, manifest.num_items, manifest.num_features)
    needs = (source.num_users, source.num_items, config.model.num_features)
    if has != needs:
        raise CheckpointError(
            f"{directory}: has {has[0]} users, {has[1]} items and {has[2]} features; the run has {needs[0]},"
            f" {needs[1]} and {needs[2]}",
            shared=True,
        )
    _require_same_ids(manifest, directory, config, fingerprint, ids)
    if (manifest.numbers.optimizer is None) != (config.train.optimizer == "adam"):
        raise CheckpointError(
            f"{directory}: is not of {config.train.optimizer}; train.optimizer cannot change on the way:"
            " begin anew in another run_dir",
            shared=True,
        )
    changed = [key for key, *_ in changes(manifest.config, config) if is_within(key, FIXED)]
    if manifest.fingerprint != fingerprint:
        changed.insert(0, "the ratings")
    if changed and not config.checkpoint.allow_changes:
        raise CheckpointError(
            f"{directory}: is of another problem: {', '.join(changed)} differ; begin anew in another"
            " run_dir, or set checkpoint.allow_changes: true",
            shared=True,
        )
    done = manifest.numbers.epoch
    if done > config.train.epochs:
        raise CheckpointError(
            f"{directory}: is of epoch {done}, beyond train.epochs: {config.train.epochs}; set train.epochs"
            f" to {done} or more, or begin anew in another run_dir",
            shared=True,
        )


def _require_same_ids(
    manifest: Manifest, directory: Path, config: Config, fingerprint: str, ids: dict[str, str]
) -> None:
    """Raise CheckpointError where rows belong to other users or items; no setting allows that."""
    if manifest.ids is not None:
        others = [side for side, digest in manifest.ids.model_dump().items() if digest != ids[side]]
        if others:
            raise CheckpointError(
                f"{directory}: holds rows of other {' and '.join(others)} than the ratings do, by their ids;"
                " begin anew in another run_dir",
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
    """Whether the ids of a config's ratings are row numbers."""
    data = config.get("data")
    return isinstance(data, dict) and not data.keys().isdisjoint({"y", "synthetic"})


def log_changes(
    manifest: Manifest, config: Config, device: torch.device, note: Callable[[str], None]
) -> None:
    """A line for every key that differs from the checkpoint's and matters; and for other hardware."""
    if config.train.reduction == "invariant":
        for name, now in hardware_and_versions(device).items():
            was = manifest.versions.get(name, "not recorded")
            if was != now:
                note(f"bits may differ from an undisturbed run's: {name} is {now}, was {was}")
    for key, was, now in changes(manifest.config, config):
        if not is_within(key, FREE):
            note(f"changed: {key} is {now}, was {was}")
