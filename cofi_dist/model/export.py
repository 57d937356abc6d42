"""Write a model in the formats that other programs read."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.files.atomic import atomic_directory, atomic_file, refuse_existing
from cofi_dist.files.temporaries import clear_temporaries
from cofi_dist.files.tensor_file import write_tensors
from cofi_dist.files.written_file import WrittenFile, checked_file
from cofi_dist.model.index import build_index
from cofi_dist.model.model import Model

# M items, U users, K features.

Writers = dict[str, Callable[[WrittenFile], object]]


def export(model: Model, form: str, output: Path, *, replace: bool) -> list[Path]:
    """Write the model for other programs.

    Args:
        model: what to write.
        form: `pt` writes X.pt (M, K), W.pt (U, K) and b.pt (1, U), plain tensors as the notebook
            saves them, and c.pt (1, M) if there are item biases. `npz` and `safetensors` write one
            file, which holds item_means, item_counts and user_counts too. `parquet` writes the same by
            raw id: items.parquet with id, mean, count, x (and c), users.parquet with id, count, b, w. A
            row without training ratings (count 0) holds the remains of its random start. `index`
            writes items.usearch, a vector index that ranks as the model does, and item_ids.parquet,
            the id of each key.
        output: directory, created if it does not exist.
        replace: overwrite files of these names.

    Returns:
        The files written. In a new directory they appear all at once. In an existing one, each replaces the
        old file atomically once all of them are written. If the process is killed or the disk fails just
        then, new files may lie beside old ones; the same call with `replace` repairs that.

    Raises:
        RunError: a file exists and `replace` is false, or can't be written.
        ConfigError: `index`, and usearch is not installed.
    """
    clear_temporaries(output)
    writers = _WRITERS[form](model)
    files = [output / name for name in writers]
    for path in files:
        refuse_existing(path, replace=replace)
    if not output.exists():
        with atomic_directory(output) as directory:
            for name, write in writers.items():
                with checked_file(directory / name) as file:
                    write(file)
        return files
    with ExitStack() as stack:  # all are written before the first one takes its place
        for path, write in zip(files, writers.values(), strict=True):
            write(stack.enter_context(atomic_file(path)))
    return files


def _pt(model: Model) -> Writers:
    import torch  # slow to import, and no other format needs it

    return {f"{name}.pt": partial(torch.save, factor) for name, factor in model.factors.by_name.items()}


def _npz(model: Model) -> Writers:
    arrays = model.arrays.by_name
    return {"factors.npz": lambda file: np.savez(file, allow_pickle=False, **arrays)}


def _safetensors(model: Model) -> Writers:
    return {"factors.safetensors": lambda file: write_tensors(file, model.arrays.by_name)}


def _parquet(model: Model) -> Writers:
    arrays = model.arrays
    items = {
        "id": model.items.raw,
        "mean": arrays.item_means,
        "count": arrays.item_counts.astype(np.int64),
    }
    users = {
        "id": model.users.raw,
        "count": arrays.user_counts.astype(np.int64),
        "b": arrays.b[0],
    }
    if arrays.c is not None:
        items["c"] = arrays.c[0]
    tables = {
        "items.parquet": pl.DataFrame({**items, "x": _row_column(np.asarray(arrays.X))}),
        "users.parquet": pl.DataFrame({**users, "w": _row_column(np.asarray(arrays.W))}),
    }
    return {name: table.write_parquet for name, table in tables.items()}


def _row_column(matrix: NDArray[np.floating]) -> pl.Series:
    """Return a column whose entries are the rows of a matrix, as arrays of fixed length."""
    kind = pl.Float64 if matrix.dtype == np.float64 else pl.Float32
    return pl.Series(matrix, dtype=pl.Array(kind, matrix.shape[1]))


def _index(model: Model) -> Writers:
    index = build_index(model.scorer)
    # we write the bytes ourselves, as usearch does not report a full disk
    return {
        "items.usearch": lambda file: file.write(index.save()),
        "item_ids.parquet": model.items.raw.to_frame("id").write_parquet,
    }


_WRITERS: dict[str, Callable[[Model], Writers]] = {
    "pt": _pt,
    "npz": _npz,
    "safetensors": _safetensors,
    "parquet": _parquet,
    "index": _index,
}
