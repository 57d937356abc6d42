"""The files of a model, written and read back; nothing is believed that was not looked at.

factors.safetensors             X, W, b, c; means and counts; the facts as metadata
users.parquet, items.parquet    the raw id of every row
config.yaml                     what it was trained with
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cofi_dist.config import Config, load_config
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.errors import RunError
from cofi_dist.factors import Factors
from cofi_dist.files.reading import parse_json, read_failure, shortened
from cofi_dist.files.tensor_file import write_tensors
from cofi_dist.files.tensor_header import TensorInfo, read_header
from cofi_dist.files.written_file import write_file
from cofi_dist.model.facts import TrainingDataFacts

FACTORS, CONFIG, USERS, ITEMS = "factors.safetensors", "config.yaml", "users.parquet", "items.parquet"
IDS = "ids"  # their digests, among the metadata of the factors
COUNTS = ("item_counts", "user_counts")
NEEDED = ("X", "W", "b", "item_means", *COUNTS)
ADVICE = "the model is damaged, or of another version: copy it anew, or train again"


class Stored(NamedTuple):
    """What the files hold, in the order of `Model`."""

    factors: Factors
    item_means: Tensor
    item_counts: Tensor
    user_counts: Tensor
    facts: TrainingDataFacts
    users: IdMap
    items: IdMap
    config: Config


def write(
    directory: Path,
    tensors: dict[str, Tensor],
    facts: TrainingDataFacts,
    users: IdMap,
    items: IdMap,
    config: Config,
) -> None:
    """Put the files into a directory, which is there and empty."""
    metadata = {**facts.to_metadata(), IDS: json.dumps(digests((users, items)))}
    write_tensors(directory / FACTORS, tensors, metadata)
    users.save(directory / USERS)
    items.save(directory / ITEMS)
    write_file(directory / CONFIG, config.to_yaml())


def find(directory: Path) -> Path:
    """The directory of the model: this one, or that of the run which it is."""
    return directory if os.path.lexists(directory / FACTORS) else directory / "model"


def read(directory: Path) -> Stored:
    """Read what `write` wrote.

    Raises:
        CofiError: a file is missing, or isn't what it should be.
    """
    file = directory / FACTORS
    try:
        table, metadata = read_header(file)
        num_items, num_users = _sizes(table)
        facts, said = TrainingDataFacts.of_metadata(metadata), parse_json(metadata.get(IDS, "null"))
    except FileNotFoundError:
        raise RunError(f"{file}: no such file; is this the directory of a finished run?") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; {ADVICE}") from None
    config = load_config(directory / CONFIG)
    users, items = (
        IdMap.load(directory / name, rows) for name, rows in ((USERS, num_users), (ITEMS, num_items))
    )
    if said not in (None, digests((users, items))):  # None: of an earlier build
        raise RunError(
            f"{directory}: {USERS} or {ITEMS} holds other ids than the model was saved with; put the"
            " model's own back, or train again"
        )
    tensors = _read_tensors(file)
    factors = Factors(tensors["X"], tensors["W"], tensors["b"], tensors.get("c"))
    means, of_items, of_users = (tensors[name] for name in ("item_means", *COUNTS))
    return Stored(factors, means, of_items, of_users, facts, users, items, config)


def _sizes(table: dict[str, TensorInfo]) -> tuple[int, int]:
    """How many items and users there are.

    Raises:
        ValueError: a tensor is missing or too many, or they are not of one model's shapes and types.
    """
    for name in NEEDED:
        if name not in table:
            raise ValueError(f"has no tensor {name}")
    for name in table:
        if name not in (*NEEDED, "c"):
            raise ValueError(f"holds a tensor {shortened(name)} that no model has")
    X, W = table["X"], table["W"]
    if len(X.shape) != 2 or len(W.shape) != 2 or X.shape[1] != W.shape[1] or 0 in (*X.shape, *W.shape):
        raise ValueError(f"X is {X} and W is {W}: they are matrices with equally many columns")
    (num_items, _), (num_users, _) = X.shape, W.shape
    wanted = {
        "W": TensorInfo(X.dtype, W.shape),
        "b": TensorInfo(X.dtype, (1, num_users)),
        "c": TensorInfo(X.dtype, (1, num_items)),
        "item_means": TensorInfo("F64", (num_items,)),
        "item_counts": TensorInfo("F64", (num_items,)),
        "user_counts": TensorInfo("F64", (num_users,)),
    }
    for name, declared in wanted.items():
        if name in table and table[name] != declared:
            raise ValueError(f"{name} is {table[name]}, not {declared}, which X and W ask for")
    return num_items, num_users


def _read_tensors(file: Path) -> dict[str, Tensor]:
    """All of them, once the table was found right.

    Raises:
        RunError: they can't be read, or hold numbers that no model has.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError) as error:  # the last: torch, which can't open it
        raise RunError(f"{file}: cannot be read: {error}; {ADVICE}") from None
    for name, tensor in tensors.items():
        lowest, highest = torch.aminmax(tensor)  # either is NaN if one of the numbers is
        if not bool((highest - lowest).isfinite()) and not bool(tensor.isfinite().all()):
            raise RunError(f"{file}: {name} holds a number that is not finite; {ADVICE}")
        if name in COUNTS and not (bool(lowest >= 0) and bool((tensor == tensor.floor()).all())):
            raise RunError(f"{file}: {name} holds numbers that count nothing, such as {lowest:g}; {ADVICE}")
    return tensors
