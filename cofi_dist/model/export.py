"""The model in the files that other programs read."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from cofi_dist.files import refuse_existing, whole_file
from cofi_dist.model.index import build_index
from cofi_dist.model.model import Model
from cofi_dist.model.store import save_tensors

# M items, U users, n features.

Writers = dict[str, Callable[[Path], object]]


def export(model: Model, form: str, output: Path, *, replace: bool) -> list[Path]:
    """Write the model for other programs.

    Args:
        model: what to write.
        form: `pt` writes X.pt (M, n), W.pt (U, n) and b.pt (1, U), plain tensors as the notebook
            saves them, and c.pt (1, M) if there are item biases; `npz` and `safetensors` one file,
            which holds item_means, item_counts and user_counts too. `parquet` writes the same by raw
            id: items.parquet with id, mean, count, x (and c), users.parquet with id, count, b, w. A
            row whose count of training ratings is 0 holds what is left of its random start. `index`
            writes items.usearch, a vector index that ranks as the model does, and item_ids.parquet,
            the id of each key.
        output: directory, made if it isn't there.
        replace: overwrite files of these names.

    Returns:
        The files written; they appear whole, and all of them or none.

    Raises:
        RunError: a file exists and `replace` is false, or can't be written.
        ConfigError: `index`, and usearch is not installed.
    """
    writers = _WRITERS[form](model)
    files = [output / name for name in writers]
    for file in files:
        refuse_existing(file, replace=replace)
    with ExitStack() as stack:  # all are written before the first one takes its place
        for file, write in zip(files, writers.values(), strict=True):
            temporary = stack.enter_context(whole_file(file))
            try:
                write(temporary)
            except (RuntimeError, pl.exceptions.PolarsError) as error:  # of a full disk, as torch and
                raise OSError(str(error)) from error  # polars put it
    return files


def _factors(model: Model) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.tensors.items() if name in ("X", "W", "b", "c")}


def _pt(model: Model) -> Writers:
    return {f"{name}.pt": partial(torch.save, tensor) for name, tensor in _factors(model).items()}


def _npz(model: Model) -> Writers:
    arrays = {name: tensor.numpy() for name, tensor in model.tensors.items()}

    def save_npz(path: Path) -> None:
        with path.open("wb") as file:  # given a name, numpy would add .npz to it
            np.savez(file, allow_pickle=False, **arrays)

    return {"factors.npz": save_npz}


def _safetensors(model: Model) -> Writers:
    return {"factors.safetensors": partial(save_tensors, model.tensors)}


def _parquet(model: Model) -> Writers:
    factors = model.factors
    items = {"id": model.items.raw, "mean": model.item_means.numpy(), "count": model.item_counts.numpy()}
    users = {"id": model.users.raw, "count": model.user_counts.numpy(), "b": factors.b[0].numpy()}
    if factors.c is not None:
        items["c"] = factors.c[0].numpy()
    tables = {
        "items.parquet": pl.DataFrame({**items, "x": _rows(factors.X)}),
        "users.parquet": pl.DataFrame({**users, "w": _rows(factors.W)}),
    }
    return {name: table.write_parquet for name, table in tables.items()}


def _rows(matrix: torch.Tensor) -> pl.Series:
    """A column whose entries are the rows, arrays of fixed length."""
    array = matrix.numpy()
    kind = pl.Float64 if array.dtype == np.float64 else pl.Float32
    return pl.Series(array, dtype=pl.Array(kind, array.shape[1]))


def _index(model: Model) -> Writers:
    index = build_index(model)
    # usearch's own writing to a file does not tell of a full disk
    return {
        "items.usearch": lambda path: path.write_bytes(index.save()),
        "item_ids.parquet": model.items.save,
    }


_WRITERS: dict[str, Callable[[Model], Writers]] = {
    "pt": _pt,
    "npz": _npz,
    "safetensors": _safetensors,
    "parquet": _parquet,
    "index": _index,
}
