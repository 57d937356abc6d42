"""Write the files of a model, and read them back; everything that is read is checked.

factors.safetensors             X, W, b, c; means and counts; the facts as metadata
users.parquet, items.parquet    the raw id of every row
config.yaml                     what the model was trained with

A model that is too large, or whose rows no rank has all of, lies in parts (`cofi_dist.model.parts`) in place
of factors.safetensors.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from cofi_dist.config import Config, load_config
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.errors import RunError
from cofi_dist.files.reading import parse_json, read_failure, shortened
from cofi_dist.files.tensor_file import map_tensors, write_tensors
from cofi_dist.files.tensor_header import TensorInfo, read_header
from cofi_dist.files.written_file import write_file
from cofi_dist.model.arrays import ROW_FACTS, ModelArrays, require_finite, value_fault
from cofi_dist.model.facts import TrainingDataFacts
from cofi_dist.model.parts import (
    ADVICE,
    PARTS,
    parts_of,
    read_manifest,
    read_parts,
    write_manifest,
    write_parts,
)
from cofi_dist.run_layout import MODEL

FACTORS, CONFIG, USERS, ITEMS = "factors.safetensors", "config.yaml", "users.parquet", "items.parquet"
ID_DIGESTS = "ids"  # key in the metadata of the factors
REQUIRED = ("X", "W", "b", *ROW_FACTS)
MOST_IN_ONE_FILE = 2**32  # bytes of X and W


class About(NamedTuple):
    """Hold what a model's files hold beside its numbers.

    Attributes:
        facts: of the training ratings.
        users, items: raw id of each row of W and of X.
        config: what the model was trained with.
    """

    facts: TrainingDataFacts
    users: IdMap
    items: IdMap
    config: Config

    @property
    def metadata(self) -> dict[str, str]:
        """Return what is stored with the tensors: the facts, and digests of the ids."""
        return {**self.facts.to_metadata(), ID_DIGESTS: json.dumps(digests((self.users, self.items)))}


def write(directory: Path, arrays: ModelArrays, about: About) -> None:
    """Write the files into a directory, which exists and is empty.

    Raises:
        OSError: a file can't be written.
        NotFiniteError: a number of the model is not finite.
    """
    if arrays.is_in_parts or not fits_one_file(len(arrays.X) + len(arrays.W), arrays.X[:1].nbytes):
        write_manifest(directory, about.metadata, write_parts(directory, parts_of(arrays)))
    else:
        for name, array in arrays.by_name.items():
            require_finite(name, array)
        write_tensors(directory / FACTORS, arrays.by_name, about.metadata)
    write_rest(directory, about)


def fits_one_file(num_rows: int, row_bytes: int) -> bool:
    """Tell whether a model with so many rows of X and W, of so many bytes each, is written to one file."""
    return num_rows * row_bytes <= MOST_IN_ONE_FILE


def write_rest(directory: Path, about: About) -> None:
    """Write the files of a model that do not hold its numbers.

    Raises:
        OSError: one can't be written.
    """
    about.users.save(directory / USERS)
    about.items.save(directory / ITEMS)
    write_file(directory / CONFIG, about.config.to_yaml())


def find(directory: Path) -> Path:
    """Return the model's own directory, given that or the directory of its run.

    Raises:
        RunError: it is no directory.
    """
    if not directory.is_dir():
        why = "is a file; give the directory" if directory.exists() else "no such directory; give that"
        raise RunError(f"{directory}: {why} of a run or of a model")
    is_own = any(os.path.lexists(directory / name) for name in (FACTORS, PARTS))
    return directory if is_own else directory / MODEL


def read(directory: Path) -> tuple[ModelArrays, About]:
    """Read what `write` wrote.

    Raises:
        CofiError: a file is missing, or isn't what it should be.
    """
    file, parts = directory / FACTORS, directory / PARTS
    if os.path.lexists(parts):
        if os.path.lexists(file):
            raise RunError(
                f"{directory}: holds two models, {FACTORS} and {PARTS}; remove that which is not its own"
            )
        manifest = read_manifest(directory)
        about = _read_rest(directory, parts, manifest.facts, manifest.num_items, manifest.num_users)
        return read_parts(directory, manifest), about
    try:
        table, metadata = read_header(file)
        num_items, num_users = _check_table(table)
    except FileNotFoundError:
        raise RunError(f"{file}: no such file; is this the directory of a finished run?") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; {ADVICE}") from None
    about = _read_rest(directory, file, metadata, num_items, num_users)
    return _read_arrays(file, table), about


def _read_rest(
    directory: Path, file: Path, metadata: dict[str, str], num_items: int, num_users: int
) -> About:
    """Return the facts, and read what `write_rest` wrote.

    Args:
        directory: of the model.
        file: that holds the metadata, for messages.
        metadata: what was stored with the tensors.
        num_items: rows of X.
        num_users: rows of W.

    Raises:
        CofiError: as `read`.
    """
    try:
        facts = TrainingDataFacts.from_metadata(metadata)
        id_digests = parse_json(metadata.get(ID_DIGESTS, "null"))
    except ValueError as error:
        raise RunError(f"{file}: {read_failure(error)}; {ADVICE}") from None
    config = load_config(directory / CONFIG)
    if config.data.feedback != facts.feedback:
        raise RunError(
            f"{directory / CONFIG}: data.feedback is {config.data.feedback}, but the model was trained with"
            f" {facts.feedback}; {ADVICE}"
        )
    users = IdMap.load(directory / USERS, num_users)
    items = IdMap.load(directory / ITEMS, num_items)
    if id_digests not in (None, digests((users, items))):  # None: written by an earlier version
        raise RunError(
            f"{directory}: {USERS} or {ITEMS} holds other ids than the model was saved with; put the"
            " model's own back, or train again"
        )
    return About(facts, users, items, config)


def _check_table(table: dict[str, TensorInfo]) -> tuple[int, int]:
    """Check the shapes and types of the tensors, and return the numbers of items and users.

    Raises:
        ValueError: a tensor is missing, unknown, or has a shape or type that does not fit the others.
    """
    for name in REQUIRED:
        if name not in table:
            raise ValueError(f"has no tensor {name}")
    for name in table:
        if name not in (*REQUIRED, "c"):
            raise ValueError(f"holds a tensor {shortened(name)} that no model has")
    X, W = table["X"], table["W"]
    if len(X.shape) != 2 or len(W.shape) != 2 or X.shape[1] != W.shape[1] or 0 in (*X.shape, *W.shape):
        raise ValueError(f"X is {X} and W is {W}: they are matrices with equally many columns")
    (num_items, _), (num_users, _) = X.shape, W.shape
    expected = {
        "W": TensorInfo(X.dtype, W.shape),
        "b": TensorInfo(X.dtype, (1, num_users)),
        "c": TensorInfo(X.dtype, (1, num_items)),
        "item_means": TensorInfo("F64", (num_items,)),
        "item_counts": TensorInfo("F64", (num_items,)),
        "user_counts": TensorInfo("F64", (num_users,)),
    }
    for name, declared in expected.items():
        if name in table and table[name] != declared:
            raise ValueError(f"{name} is {table[name]}, not {declared}, which X and W ask for")
    return num_items, num_users


def _read_arrays(file: Path, table: dict[str, TensorInfo]) -> ModelArrays:
    """Map all arrays of a file whose table was checked, and check their values.

    Raises:
        RunError: they can't be read, or hold values that no model has.
    """
    try:
        arrays: dict[str, Any] = map_tensors(file, table)
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; {ADVICE}") from None
    for name, array in arrays.items():
        if fault := value_fault(array, is_count=name.endswith("_counts")):
            raise RunError(f"{file}: {name} holds {fault}; {ADVICE}")
    return ModelArrays(**arrays)
