"""Describe a checkpoint by a manifest; a directory without a complete one is not a checkpoint.

epoch-00000100/
  manifest.json
  users-000000000000-000000000305.safetensors    W, b, their moments, the best of them; rows 0 to 304
  items-000000000000-000000009724.safetensors    X, c, and the same for them

A rank that owns several ranges of items has a file for each.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import xxhash
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cofi_dist.config import Metric
from cofi_dist.errors import CheckpointError, CheckpointReadError, CheckpointVersionError
from cofi_dist.files.reading import UnusableFileError, open_regular, read_failure, read_json
from cofi_dist.files.records import first_mistake
from cofi_dist.files.row_files import require_every_row, require_size
from cofi_dist.files.signed_json import CHECKSUM, digest_of, write_signed

FORMAT: Final = 3  # format 2 had no digests of the ids
FILE = "manifest.json"
MOST_BYTES = 2**22  # a manifest has some parts of 200 bytes per rank
Count = Annotated[int, Field(ge=0, le=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]
RowKind = Literal["users", "items"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PartFile(_Strict):
    """Describe a file of a checkpoint: the rows `start <= row < stop` of the users or of the items."""

    side: RowKind
    start: Count
    stop: Count
    bytes: Count
    xxh3: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.stop - self.start

    @property
    def name(self) -> str:
        return part_name(self.side, self.start, self.stop)


class Best(_Strict):
    """Hold the best factors so far, by their RMSE on the validation ratings, without their tensors."""

    epoch: Count
    stale: Count
    rmse: Number
    mae: Number


class Criterion(_Strict):
    """Say by which figure the best factors were chosen."""

    metric: Metric
    k: Count | None
    users: Count | None


class BestByCriterion(_Strict):
    """Hold the best factors so far, by another figure than the RMSE, without their tensors."""

    epoch: Count
    stale: Count
    figures: dict[Metric, Number]
    criterion: Criterion

    @model_validator(mode="after")
    def _require_the_deciding_figure(self) -> "BestByCriterion":
        if self.criterion.metric not in self.figures:
            raise ValueError(f"there is no figure of {self.criterion.metric}")
        return self


class Momentum(_Strict):
    """Hold the state of ALS without its tensors."""

    J: Number | None
    momentum: Count
    change: Number | None


class Draws(_Strict):
    """Hold the state of a mean of draws without its tensors."""

    draws: Count


class Numbers(_Strict):
    """Hold the state of a run without its tensors."""

    epoch: Count
    seconds: Number
    best: Best | BestByCriterion | None
    optimizer: Momentum | Draws | None = None


class Ids(_Strict):
    """Hold digests of the id maps, which say whose rows the checkpoint holds."""

    users: str
    items: str


class Manifest(_Strict):
    """Hold everything that a resuming run needs to know before it reads a tensor.

    Attributes:
        numbers: the epoch, which is also Adam's step; the seconds; the best validation.
        num_users, num_items, num_features: shape of the factors.
        dtype: type of the factors.
        world_size: number of ranks that wrote the checkpoint.
        fingerprint: fingerprint of the training data.
        ids: digests of its ids; None in a checkpoint of format 2.
        config: the resolved config of the run.
        versions: versions of the software that wrote it.
        parts: the files; within a side, their rows follow one another.
    """

    format: Literal[2, 3]
    numbers: Numbers
    num_users: Count
    num_items: Count
    num_features: Count
    dtype: Literal["float32", "float64"]
    world_size: Count
    fingerprint: str
    ids: Ids | None = None
    config: dict[str, Any]
    versions: dict[str, str]
    parts: list[PartFile]

    @property
    def bytes(self) -> int:
        """Return the size of all parts."""
        return sum(part.bytes for part in self.parts)


def part_name(side: str, start: int, stop: int) -> str:
    """Return the name of the file that holds these rows."""
    return f"{side}-{start:012}-{stop:012}.safetensors"


def directory_name(epoch: int) -> str:
    """Return the name of the checkpoint after so many steps."""
    return f"epoch-{epoch:08}"


def epoch_of(directory: Path) -> int | None:
    """Return the epoch that a directory is named after, or None if it is not named like a checkpoint."""
    match = re.fullmatch(r"epoch-(\d{8,})", directory.name)
    return int(match[1]) if match else None


def list_checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints in a directory, the newest first, complete or not; links are left out.

    Raises:
        CheckpointReadError: the directory cannot be read.
    """
    try:
        if not directory.is_dir():
            return []
        named = [(epoch, path) for path in directory.iterdir() if (epoch := epoch_of(path)) is not None]
        return [path for _, path in sorted(named, reverse=True) if path.is_dir() and not path.is_symlink()]
    except OSError as error:
        raise CheckpointReadError(f"{directory}: cannot be read: {error.strerror or error}") from None


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write a manifest with its own checksum, and flush it to the disk.

    Raises:
        OSError: it can't be written.
    """
    write_signed(directory / FILE, manifest.model_dump(mode="json"))


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a checkpoint, and check that all its files exist and have the declared sizes.

    Raises:
        CheckpointVersionError: a newer version wrote it.
        CheckpointReadError: it can't be read.
        CheckpointError: the checkpoint is not complete.
    """
    file = directory / FILE
    try:
        said = read_json(file, MOST_BYTES)
        digest = digest_of(said) if isinstance(said, dict) else ""
    except FileNotFoundError:
        raise CheckpointError(
            f"{directory}: has no {FILE}: it is not a checkpoint, or not a whole one"
        ) from None
    except (UnusableFileError, ValueError) as error:
        raise CheckpointError(f"{file}: {read_failure(error)}") from None
    except OSError as error:
        raise CheckpointReadError(f"{file}: {read_failure(error)}") from None
    except RecursionError:
        raise CheckpointError(f"{file}: is nested too deeply") from None
    version = said.get("format") if isinstance(said, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise CheckpointVersionError(
            f"{file}: has format {version}; this version reads up to {FORMAT}: update cofi_dist"
        )
    if isinstance(said, dict):
        if version == 1:
            raise CheckpointError(f"{file}: has format 1, of a build before 0.1.0: begin anew")
        if said.pop(CHECKSUM, None) != digest:
            raise CheckpointError(f"{file}: its content is not what was written: its own checksum differs")
    try:
        manifest = Manifest.model_validate(said)
    except ValidationError as error:
        raise CheckpointError(f"{file}: {first_mistake(error)}") from None
    _check(directory, manifest)
    return manifest


def _check(directory: Path, manifest: Manifest) -> None:
    """Raise CheckpointError unless the files hold each row once, and have the declared sizes."""
    file = directory / FILE
    try:
        for side, rows in (("users", manifest.num_users), ("items", manifest.num_items)):
            cuts = ((part.start, part.stop) for part in manifest.parts if part.side == side)
            require_every_row(cuts, rows, side)
        for part in manifest.parts:
            file = directory / part.name
            require_size(file, part.bytes)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from None


def verify(directory: Path, part: PartFile) -> None:
    """Compare the content of a part with its checksum.

    Raises:
        CheckpointReadError: it can't be read.
        CheckpointError: its content is not what was written.
    """
    file = directory / part.name
    try:
        with open_regular(file) as opened:
            found = hashlib.file_digest(opened, xxhash.xxh3_128).hexdigest()
    except OSError as error:
        raise CheckpointReadError(f"{file}: {read_failure(error)}") from None
    if found != part.xxh3:
        raise CheckpointError(f"{file}: its content is not what was written: the checksum differs")
