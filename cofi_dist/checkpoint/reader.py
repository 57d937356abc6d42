"""Read checkpoints, on any number of ranks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from cofi_dist.checkpoint.manifest import Manifest, PartFile, RowKind, list_checkpoints, read_manifest, verify
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import (
    CheckpointError,
    CheckpointReadError,
    CheckpointVersionError,
    from_words,
    to_words,
)
from cofi_dist.files.reading import read_failure, shortened
from cofi_dist.files.tensor_header import read_header
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training.state import ITEM_FACTORS, USER_FACTORS, State


@dataclass(frozen=True)
class Checkpoint:
    """Hold a complete checkpoint.

    Attributes:
        directory: where its files lie.
        manifest: its description, read from the directory.
    """

    directory: Path
    manifest: Manifest

    @property
    def epoch(self) -> int:
        """Return the number of steps that the saved state had taken."""
        return self.manifest.numbers.epoch


def find_newest(directory: Path, comm: Comm) -> tuple[Checkpoint | None, list[str]]:
    """Find the newest complete checkpoint in a directory; every byte of it is verified.

    Each file is read once, by one rank. Collective: all ranks call it.

    Args:
        directory: directory of a run's checkpoints; rank 0 lists it.
        comm: the ranks.

    Returns:
        The checkpoint, or None if none is complete; and why each newer one was rejected.

    Raises:
        CheckpointVersionError: a newer version wrote a checkpoint that is newer than all complete ones.
        CheckpointReadError: the directory cannot be read; or no checkpoint is complete, but one that could
            not be read may be.
    """
    rejected: list[str] = []
    unreadable: CheckpointReadError | None = None
    for path in map(Path, comm.from_rank_zero(lambda: [str(found) for found in list_checkpoints(directory)])):
        try:
            return read_verified(path, comm), rejected
        except CheckpointVersionError:
            raise
        except CheckpointError as error:
            rejected.append(str(error))
            if isinstance(error, CheckpointReadError):
                unreadable = unreadable or error
    if unreadable is not None:
        raise unreadable
    return None, rejected


def read_verified(directory: Path, comm: Comm) -> Checkpoint:
    """Read the manifest of a checkpoint, and verify the checksum of each file.

    Collective: all ranks call it.

    Raises:
        CheckpointError: a file is not what was written; the same error on all ranks.
    """
    manifest = Manifest.model_validate(
        comm.from_rank_zero(lambda: read_manifest(directory).model_dump(mode="json"))
    )
    failure: dict[str, str] | None = None
    for part in manifest.parts[comm.rank :: comm.world_size]:
        try:
            verify(directory, part)
        except CheckpointError as error:
            failure = to_words(error)
            break
    failures = [from_words(words) for words in comm.all_gather_objects(failure) if words is not None]
    if failures:
        failures[0].shared = True
        raise failures[0]
    return Checkpoint(directory, manifest)


def restore_state(
    checkpoint: Checkpoint, state: State, users: UserRange, items: Sequence[UserRange] | None = None
) -> None:
    """Overwrite this rank's state with that of a checkpoint; only its own rows are read.

    Args:
        checkpoint: a verified checkpoint.
        state: the state to overwrite; its tensors have the shapes that the manifest declares.
        users: this rank's users.
        items: the items that it owns; None for all items.

    Raises:
        CheckpointError: a file does not hold what the manifest says, or the checkpoint has been removed.
    """
    manifest = checkpoint.manifest
    state.restore_scalars(manifest.numbers.model_dump())
    sides: dict[RowKind, tuple[tuple[str, ...], Sequence[UserRange]]] = {
        "users": (USER_FACTORS, [users]),
        "items": (ITEM_FACTORS, [UserRange(0, manifest.num_items)] if items is None else items),
    }
    for side, (names, ranges) in sides.items():
        rows, done = state.row_tensors(names), 0
        for wanted in ranges:
            for part, in_range, in_part in _overlaps(manifest, side, wanted):
                own = slice(done + in_range.start, done + in_range.stop)
                targets = {name: tensor[own] for name, tensor in rows.items()}
                _copy(checkpoint.directory / part.name, targets, part, in_part)
            done += len(wanted)
    # A run that is still going on may have expired the checkpoint meanwhile, and overwritten its files.
    read_manifest(checkpoint.directory)


def load_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Load all tensors of a checkpoint, with the rows of all users and items.

    They are named as in `State.row_tensors`.

    Raises:
        CheckpointError: a file does not hold what the manifest says, or the checkpoint has been removed.
    """
    rows: dict[str, list[Tensor]] = {}
    for part in checkpoint.manifest.parts:
        file = checkpoint.directory / part.name
        with _damage_as_checkpoint_error(file):
            shapes = {name: info.shape for name, info in read_header(file)[0].items()}
            for name, shape in shapes.items():
                _require_shape(name, shape, part, checkpoint.manifest)
            for name, tensor in load_file(file).items():
                rows.setdefault(name, []).append(tensor)
    with _damage_as_checkpoint_error(checkpoint.directory):
        whole = {name: torch.cat(parts) for name, parts in rows.items()}
    read_manifest(checkpoint.directory)  # as in `restore_state`
    return whole


def _overlaps(
    manifest: Manifest, side: RowKind, wanted: UserRange
) -> Iterator[tuple[PartFile, slice, slice]]:
    """Yield each part that holds wanted rows, with their slice of the wanted range and of the part."""
    for part in manifest.parts:
        start, stop = max(part.start, wanted.start), min(part.stop, wanted.stop)
        if part.side == side and start < stop:
            in_wanted, in_part = (slice(start - base, stop - base) for base in (wanted.start, part.start))
            yield part, in_wanted, in_part


def _copy(file: Path, targets: dict[str, Tensor], part: PartFile, rows: slice) -> None:
    """Copy rows of a part's tensors into the target tensors of the same names."""
    with _damage_as_checkpoint_error(file):
        declared, _ = read_header(file)
        with safe_open(file, framework="pt") as opened:
            for name, target in targets.items():
                if name not in declared:
                    raise ValueError(f"has no tensor {name}")
                wanted = (part.rows, *target.shape[1:])
                if declared[name].shape != wanted:
                    raise ValueError(f"{name} is {declared[name]}, not of shape {wanted}")
                read = opened.get_slice(name)[rows]
                # A sum is faster; only if it is not finite is each number looked at.
                if not bool(read.sum().isfinite()) and not bool(read.isfinite().all()):
                    raise ValueError(f"{name} holds a number that is not finite")
                target.copy_(read)


def _require_shape(name: str, shape: tuple[int, ...], part: PartFile, manifest: Manifest) -> None:
    """Raise ValueError unless a part may hold a tensor of this name and shape."""
    letter = name.partition(".")[0]
    wanted = {
        **dict.fromkeys((USER_FACTORS[0], ITEM_FACTORS[0]), (part.rows, manifest.num_features)),
        **dict.fromkeys((USER_FACTORS[1], ITEM_FACTORS[1]), (part.rows,)),
    }
    if letter not in (USER_FACTORS if part.side == "users" else ITEM_FACTORS):
        raise ValueError(f"holds {shortened(name)}, which no part of {part.side} has")
    if shape != wanted[letter]:
        raise ValueError(f"{name} is of shape {shape}, not {wanted[letter]}")


@contextmanager
def _damage_as_checkpoint_error(file: Path) -> Iterator[None]:
    """Raise any failure to read a file as an error which says that the file is damaged."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file}: does not hold what the manifest says: {read_failure(error)}"
        ) from None
    except (SafetensorError, RuntimeError) as error:  # the latter: parts whose shapes do not fit together
        raise CheckpointError(f"{file}: does not hold what the manifest says: {error}") from None
