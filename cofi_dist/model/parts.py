"""Write a model in parts, each of which some rows of the users or of the items, and map it again.

parts.json                      sizes and checksums of the parts; the facts
users-00000.safetensors         W, b and the counts of some users
items-00000.safetensors         X, c, and the means and counts of some items
users.parquet, items.parquet, config.yaml, as in a model of one file

Every rank writes its own rows, so no rank needs memory for all of them. Neither does whoever reads them.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from cofi_dist.errors import RunError
from cofi_dist.files.piece_sums import CheckedMap, PieceSums
from cofi_dist.files.reading import read_failure
from cofi_dist.files.records import Record, check_record
from cofi_dist.files.row_files import require_every_row, require_size
from cofi_dist.files.signed_json import read_signed, write_signed
from cofi_dist.files.tensor_file import DTYPES, write_tensors
from cofi_dist.files.tensor_header import TensorInfo, read_header
from cofi_dist.model.arrays import ModelArrays, require_finite, value_fault
from cofi_dist.model.row_parts import Floats, RowPart, RowParts, Rows
from cofi_dist.sharding.ranges import UserRange

PARTS = "parts.json"
MOST_BYTES = 2**28  # of it; the checksums of a terabyte of factors are 64 MB
FILE_BYTES = 2**30  # of X or W in a file, if one process writes all of them
FORMAT: Final = 1
ADVICE = "the model is damaged, or of another version: copy it anew, or train again"
Count = Annotated[int, Field(ge=0, le=2**53)]
Side = Literal["users", "items"]
# The tensors of a part, by their names in the files: those with K columns, and those with one number a row.
MATRIX: dict[Side, str] = {"users": "W", "items": "X"}
VECTORS: dict[Side, tuple[str, ...]] = {
    "users": ("b", "user_counts"),
    "items": ("c", "item_means", "item_counts"),
}
BIASES = ("b", "c")  # of the vectors, those that are factors


@dataclass(frozen=True)
class OwnRows:
    """Hold rows of the users or of the items, to be written to a file.

    Attributes:
        side: whose rows.
        ranges: their places in the matrix; they follow one another in `tensors`. None is empty.
        tensors: W (n, K), b (n,) and user_counts (n,); or X (n, K), c (n,) if there is one, item_means (n,)
            and item_counts (n,). Contiguous; float64, but for the factors.
    """

    side: Side
    ranges: Sequence[UserRange]
    tensors: dict[str, Floats]


class Part(Record):
    """Describe a file of a model in parts.

    Attributes:
        side, number: by which it is named.
        ranges: start and stop of its rows, which lie in it one range after the other.
        bytes: its size.
        sums: checksums of its pieces (`cofi_dist.files.piece_sums`).
    """

    side: Side
    number: Count
    ranges: list[Annotated[list[Count], Field(min_length=2, max_length=2)]]
    bytes: Count
    sums: Annotated[str, Field(pattern=r"^(?:[0-9a-f]{16})+$")]

    @property
    def name(self) -> str:
        return part_name(self.side, self.number)

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(stop - start for start, stop in self.ranges)


def part_name(side: Side, number: int) -> str:
    """Return the name of a part."""
    return f"{side}-{number:05}.safetensors"


class Manifest(Record):
    """Describe a model in parts.

    Attributes:
        format: of this description.
        num_users, num_items, num_features, dtype: shape and type of the factors.
        has_item_bias: the model has a c.
        facts: what a file of one piece holds as its metadata.
        parts: the files.
    """

    format: Literal[1]
    num_users: Annotated[int, Field(ge=1, le=2**53)]
    num_items: Annotated[int, Field(ge=1, le=2**53)]
    num_features: Annotated[int, Field(ge=1, le=2**53)]
    dtype: Literal["F32", "F64"]
    has_item_bias: bool
    facts: dict[str, str]
    parts: list[Part]


def write_parts(directory: Path, rows: Iterable[OwnRows], first: int = 0) -> list[Part]:
    """Write a file for each; return what the manifest says of them.

    Args:
        directory: of the model.
        rows: of each file.
        first: number of the first file of each side; the following have the numbers that follow.

    Raises:
        OSError: a file can't be written.
        NotFiniteError: a number is not finite.
    """
    parts: list[Part] = []
    for own in rows:
        for name, tensor in own.tensors.items():
            require_finite(name, tensor)
        number = first + sum(part.side == own.side for part in parts)
        sums = PieceSums()
        size, _ = write_tensors(directory / part_name(own.side, number), own.tensors, sums=sums)
        ranges = [[each.start, each.stop] for each in own.ranges]
        parts.append(Part(side=own.side, number=number, ranges=ranges, bytes=size, sums=sums.hexdigest()))
    return parts


def write_manifest(directory: Path, facts: dict[str, str], parts: Sequence[Part]) -> None:
    """Describe the parts of all ranks, which lie in a directory; they are read again.

    Raises:
        OSError: a file can't be read or written.
        RunError: together they are no model.
    """
    table, _ = read_header(directory / next(part.name for part in parts if part.side == "items"))
    manifest = Manifest(
        format=FORMAT,
        num_users=sum(part.rows for part in parts if part.side == "users"),
        num_items=sum(part.rows for part in parts if part.side == "items"),
        num_features=table["X"].shape[1],
        dtype=table["X"].dtype,  # type: ignore[arg-type]
        has_item_bias="c" in table,
        facts=facts,
        parts=list(parts),
    )
    write_signed(directory / PARTS, manifest.model_dump(mode="json"))
    read_parts(directory, read_manifest(directory))


def read_manifest(directory: Path) -> Manifest:
    """Read the description of a model in parts.

    Raises:
        RunError: it can't be read, or is not what `write_manifest` wrote.
    """
    file = directory / PARTS
    try:
        said = read_signed(file, MOST_BYTES)
        version = said.get("format")
        if isinstance(version, int) and version > FORMAT:
            raise ValueError(f"has format {version}; this version reads up to {FORMAT}: update cofi_dist")
        manifest = check_record(said, Manifest)
        for side, rows in (("users", manifest.num_users), ("items", manifest.num_items)):
            ranges = [each for part in manifest.parts if part.side == side for each in part.ranges]
            if any(start >= stop for start, stop in ranges):
                raise ValueError(f"a file of {side} holds a range of no rows")
            require_every_row(sorted((start, stop) for start, stop in ranges), rows, side)
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; {ADVICE}") from None
    return manifest


def read_parts(directory: Path, manifest: Manifest) -> ModelArrays:
    """Map the parts of a model; of X and W no number is read, the others are read and checked.

    Raises:
        RunError: the parts are not what the manifest says; or are damaged, where they were read.
    """
    arrays = dict[str, RowParts]()
    for side in MATRIX:
        arrays |= _read_side(directory, manifest, side)
    vectors = {
        name: np.asarray(arrays[name]) for names in VECTORS.values() for name in names if name in arrays
    }
    for name, vector in vectors.items():
        if fault := value_fault(vector, is_count=name.endswith("_counts")):
            raise RunError(f"{directory}: {name} holds {fault}; {ADVICE}")
    biases = {name: vectors.pop(name)[None] for name in ("b", "c") if name in vectors}
    return ModelArrays(X=arrays["X"], W=arrays["W"], **biases, **vectors)


def _read_side(directory: Path, manifest: Manifest, side: Side) -> dict[str, RowParts]:
    found = dict[str, list[RowPart]]()
    for part in (part for part in manifest.parts if part.side == side):
        for name, each in _map_part(directory / part.name, part, _expected(manifest, part)):
            found.setdefault(name, []).append(each)
    return {name: RowParts(sorted(each, key=lambda part: part.start)) for name, each in found.items()}


def _expected(manifest: Manifest, part: Part) -> dict[str, TensorInfo]:
    """Return the tensors that a part has to hold."""
    names = [name for name in VECTORS[part.side] if name != "c" or manifest.has_item_bias]
    return {
        MATRIX[part.side]: TensorInfo(manifest.dtype, (part.rows, manifest.num_features)),
        **{name: TensorInfo(manifest.dtype if name in BIASES else "F64", (part.rows,)) for name in names},
    }


def _map_part(file: Path, part: Part, expected: dict[str, TensorInfo]) -> Iterator[tuple[str, RowPart]]:
    """Yield the ranges of rows of each tensor of a part.

    Raises:
        RunError: the file is not what the manifest says.
    """
    try:
        require_size(file, part.bytes)
        table, _ = read_header(file)
        if table != expected:
            said = ", ".join(f"{name} {about}" for name, about in expected.items())
            raise ValueError(f"does not hold what {PARTS} says: {said}")
        mapped = CheckedMap(file, part.sums)
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; {ADVICE}") from None
    mapped.require(np.zeros(1, np.int64), 1)  # the table, by which the rest is read
    for name, about in table.items():
        flat = np.frombuffer(mapped.content, DTYPES[about.dtype], math.prod(about.shape), about.start)
        rows, at = flat.reshape(about.shape), 0
        for start, stop in part.ranges:
            here = rows[at : at + stop - start]
            yield name, RowPart(start, here, mapped, about.start + at * rows.strides[0])
            at += stop - start


def parts_of(arrays: ModelArrays) -> Iterator[OwnRows]:
    """Cut the rows of a model into files of a bounded size."""
    for side, matrix in MATRIX.items():
        rows: Rows = getattr(arrays, matrix)
        at_once = max(1, FILE_BYTES // (rows.shape[1] * rows.dtype.itemsize))
        for start in range(0, len(rows), at_once):
            some = slice(start, min(start + at_once, len(rows)))
            vectors = {
                name: array.reshape(-1)[some]
                for name in VECTORS[side]
                if (array := getattr(arrays, name)) is not None
            }
            yield OwnRows(side, [UserRange(some.start, some.stop)], {matrix: rows[some], **vectors})
