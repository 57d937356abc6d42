"""Write the files of a model, and read them back; everything that is read is checked.

factors.safetensors             X, W, b, c; means and counts; the facts as metadata
users.parquet, items.parquet    the raw id of every row
config.yaml                     what the model was trained with
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cofi_dist.config import Config, load_config
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.errors import RunError
from cofi_dist.files.reading import parse_json, read_failure, shortened
from cofi_dist.files.tensor_file import map_tensors, write_tensors
from cofi_dist.files.tensor_header import TensorInfo, read_header
from cofi_dist.files.written_file import write_file
from cofi_dist.model.arrays import ROW_FACTS, ModelArrays
from cofi_dist.model.facts import TrainingDataFacts
from cofi_dist.run_layout import MODEL

FACTORS, CONFIG, USERS, ITEMS = "factors.safetensors", "config.yaml", "users.parquet", "items.parquet"
ID_DIGESTS = "ids"  # key in the metadata of the factors
REQUIRED = ("X", "W", "b", *ROW_FACTS)
ADVICE = "the model is damaged, or of another version: copy it anew, or train again"


class StoredModel(NamedTuple):
    """Hold the contents of a model's files.

    Attributes:
        arrays: the factors, and the means and counts of their rows.
        facts: of the training ratings.
        users, items: raw id of each row of W and of X.
        config: what the model was trained with.
    """

    arrays: ModelArrays
    facts: TrainingDataFacts
    users: IdMap
    items: IdMap
    config: Config


def write(directory: Path, stored: StoredModel) -> None:
    """Write the files into a directory, which exists and is empty."""
    ids = digests((stored.users, stored.items))
    metadata = {**stored.facts.to_metadata(), ID_DIGESTS: json.dumps(ids)}
    write_tensors(directory / FACTORS, stored.arrays.by_name, metadata)
    stored.users.save(directory / USERS)
    stored.items.save(directory / ITEMS)
    write_file(directory / CONFIG, stored.config.to_yaml())


def find(directory: Path) -> Path:
    """Return the model's own directory, given that or the directory of its run."""
    return directory if os.path.lexists(directory / FACTORS) else directory / MODEL


def read(directory: Path) -> StoredModel:
    """Read what `write` wrote.

    Raises:
        CofiError: a file is missing, or isn't what it should be.
    """
    file = directory / FACTORS
    try:
        table, metadata = read_header(file)
        num_items, num_users = _check_table(table)
        facts = TrainingDataFacts.from_metadata(metadata)
        id_digests = parse_json(metadata.get(ID_DIGESTS, "null"))
    except FileNotFoundError:
        raise RunError(f"{file}: no such file; is this the directory of a finished run?") from None
    except (OSError, ValueError) as error:
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
    return StoredModel(_read_arrays(file, table), facts, users, items, config)


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
        lowest, highest = array.min(), array.max()  # both are NaN if one of the numbers is
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            raise RunError(f"{file}: {name} holds a number that is not finite; {ADVICE}")
        if name.endswith("_counts") and not (lowest >= 0 and (array == np.floor(array)).all()):
            raise RunError(f"{file}: {name} holds numbers that count nothing, such as {lowest:g}; {ADVICE}")
    return ModelArrays(**arrays)
