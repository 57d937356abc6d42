"""From a checkpoint back to a state, on any number of ranks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from cofi_dist.checkpoint.manifest import Manifest, Part, Side, epoch_of, read_manifest, verify
from cofi_dist.distributed import Comm
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


def list_checkpoints(directory: Path) -> list[Path]:
    """The checkpoints in a run's directory of them, the newest first, whole or not; no links.

    Raises:
        CheckpointReadError: what is in the directory can't be read.
    """
    try:
        if not directory.is_dir():
            return []
        named = [(epoch, path) for path in directory.iterdir() if (epoch := epoch_of(path)) is not None]
        return [path for _, path in sorted(named, reverse=True) if path.is_dir() and not path.is_symlink()]
    except OSError as error:
        raise CheckpointReadError(f"{directory}: cannot be read: {error.strerror or error}") from None


def find_newest(directory: Path, comm: Comm) -> tuple[Path | None, Manifest | None, list[str]]:
    """The newest of a run's checkpoints that is whole, to the last byte of it.

    Every file is read once, by one rank. Collective: all ranks call it.

    Args:
        directory: of the run's checkpoints; rank 0 looks into it.
        comm: the ranks.

    Returns:
        It and its manifest, or None; and why those before it are not taken.

    Raises:
        CheckpointVersionError: before it there is one of a newer version.
        CheckpointReadError: none is whole, but one could not be read: it may be; or nothing could.
    """
    refused: list[str] = []
    unreadable: CheckpointReadError | None = None
    for found in map(Path, comm.on_first(lambda: [str(path) for path in list_checkpoints(directory)])):
        try:
            return found, read_verified(found, comm), refused
        except CheckpointVersionError:
            raise
        except CheckpointError as error:
            refused.append(str(error))
            if isinstance(error, CheckpointReadError):
                unreadable = unreadable or error
    if unreadable is not None:
        raise unreadable
    return None, None, refused


def read_verified(directory: Path, comm: Comm) -> Manifest:
    """The manifest of a checkpoint, every file of which is what was written.

    Collective: all ranks call it.

    Raises:
        CheckpointError: it is not so; the same on all ranks.
    """
    manifest = Manifest.model_validate(
        comm.on_first(lambda: read_manifest(directory).model_dump(mode="json"))
    )
    wrong: dict[str, str] | None = None
    for part in manifest.parts[comm.rank :: comm.world_size]:
        try:
            verify(directory, part)
        except CheckpointError as error:
            wrong = to_words(error)
            break
    faults = [from_words(fault) for fault in comm.gather(wrong) if fault is not None]
    if faults:
        faults[0].shared = True
        raise faults[0]
    return manifest


def restore_state(directory: Path, manifest: Manifest, state: State, users: UserRange) -> None:
    """Set this rank's state to the checkpoint's; only the rows of its users are read.

    Args:
        directory: of the checkpoint.
        manifest: its own, checked.
        state: to be overwritten; of the shapes that the manifest says.
        users: this rank's.

    Raises:
        CheckpointError: a file does not hold what it should, or the checkpoint is gone.
    """
    state.restore_scalars(manifest.numbers.model_dump())
    everything = UserRange(0, manifest.num_items)
    for side, letters, wanted in (("users", USER_FACTORS, users), ("items", ITEM_FACTORS, everything)):
        rows = state.row_tensors(letters)
        for part, mine, theirs in _overlaps(manifest, side, wanted):  # type: ignore[arg-type]
            _copy(directory / part.name, {name: tensor[mine] for name, tensor in rows.items()}, part, theirs)
    # that of a run that is going on may have been given up meanwhile, and its files written over
    read_manifest(directory)


def load_tensors(directory: Path, manifest: Manifest) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, of all users and items; named as in `State.rows`.

    Raises:
        CheckpointError: a file does not hold what it should, or the checkpoint is gone.
    """
    rows: dict[str, list[Tensor]] = {}
    for part in manifest.parts:
        file = directory / part.name
        with _as_it_should_be(file):
            shapes = {name: declared.shape for name, declared in read_header(file)[0].items()}
            for name, shape in shapes.items():
                _require_shape(name, shape, part, manifest)
            for name, tensor in load_file(file).items():
                rows.setdefault(name, []).append(tensor)
    with _as_it_should_be(directory):
        whole = {name: torch.cat(parts) for name, parts in rows.items()}
    read_manifest(directory)  # as above
    return whole


def _overlaps(manifest: Manifest, side: Side, wanted: UserRange) -> Iterator[tuple[Part, slice, slice]]:
    """The parts that hold wanted rows; where they go, and where they are in the part."""
    for part in manifest.parts:
        start, stop = max(part.start, wanted.start), min(part.stop, wanted.stop)
        if part.side == side and start < stop:
            mine, theirs = (slice(start - first, stop - first) for first in (wanted.start, part.start))
            yield part, mine, theirs


def _copy(file: Path, into: dict[str, Tensor], part: Part, rows: slice) -> None:
    with _as_it_should_be(file):
        table, _ = read_header(file)
        with safe_open(file, framework="pt") as opened:
            for name, target in into.items():
                if name not in table:
                    raise ValueError(f"has no tensor {name}")
                wanted = (part.rows, *target.shape[1:])
                if table[name].shape != wanted:
                    raise ValueError(f"{name} is {table[name]}, not of shape {wanted}")
                read = opened.get_slice(name)[rows]
                # a sum is faster; only where it is not finite need each number be looked at
                if not bool(read.sum().isfinite()) and not bool(read.isfinite().all()):
                    raise ValueError(f"{name} holds a number that is not finite")
                target.copy_(read)


def _require_shape(name: str, shape: tuple[int, ...], part: Part, manifest: Manifest) -> None:
    """Raise ValueError unless a tensor can be one of a part: `W`, `b` or what belongs to them; `X` or `c`."""
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
def _as_it_should_be(file: Path) -> Iterator[None]:
    """Say of what is read of a file that it is not what was written."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file}: does not hold what the manifest says: {read_failure(error)}"
        ) from None
    except (SafetensorError, RuntimeError) as error:  # the last: parts of other shapes
        raise CheckpointError(f"{file}: does not hold what the manifest says: {error}") from None
