"""Write a model in the formats that other programs read."""

import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from itertools import starmap
from pathlib import Path

import numpy as np
import polars as pl

from cofi_dist.files.atomic import atomic_directory, atomic_file, refuse_existing
from cofi_dist.files.temporaries import clear_temporaries
from cofi_dist.files.tensor_file import write_tensors
from cofi_dist.files.written_file import WrittenFile, checked_file
from cofi_dist.model.index import build_index
from cofi_dist.model.model import Model
from cofi_dist.model.parts import Side
from cofi_dist.model.row_parts import Floats, Rows, blocks_of

# M items, U users, K features.

SIDES: tuple[Side, ...] = ("items", "users")
ORDER = ("mean", "count", "c", "b")  # of the columns beside the id and the factors
Writers = dict[str, Callable[[WrittenFile], object]]


def export(
    model: Model,
    form: str,
    output: Path,
    *,
    replace: bool,
    on_write: Callable[[int], object] | None = None,
) -> list[Path]:
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
        on_write: called with the number of bytes of each write.

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
                    file.on_write = on_write
                    write(file)
        return files
    with ExitStack() as stack:  # all are written before the first one takes its place
        for path, write in zip(files, writers.values(), strict=True):
            file = stack.enter_context(atomic_file(path))
            file.on_write = on_write
            write(file)
    return files


def _pt(model: Model) -> Writers:
    import torch  # slow to import, and no other format needs it

    return {f"{name}.pt": partial(torch.save, factor) for name, factor in model.factors.by_name.items()}


def _npz(model: Model) -> Writers:
    return {"factors.npz": lambda file: _write_npz(file, model.arrays.rows_by_name)}


def _write_npz(file: WrittenFile, arrays: dict[str, Rows]) -> None:
    """Write what `numpy.savez` writes, block by block."""
    with zipfile.ZipFile(file, "w") as packed:
        for name, rows in arrays.items():
            with packed.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": rows.dtype.str, "fortran_order": False, "shape": rows.shape}
                np.lib.format.write_array_header_1_0(member, header)
                for _, block in blocks_of(rows):
                    member.write(np.ascontiguousarray(block).data)


def _safetensors(model: Model) -> Writers:
    return {"factors.safetensors": lambda file: write_tensors(file, model.arrays.rows_by_name)}


def _parquet(model: Model) -> Writers:
    return {f"{side}.parquet": partial(write_parquet, model, side) for side in SIDES}


def write_parquet(model: Model, side: Side, file: WrittenFile, part: int = 0, num_parts: int = 1) -> None:
    """Write the table of the items or of the users, or a part of it, in row groups made one after another.

    Args:
        model: what to write.
        side: which table.
        file: where to.
        part: number of the part, which has the rows between those of the parts before and behind it.
        num_parts: how many there are, of about equally many rows.
    """
    from polars.io.plugins import register_io_source  # only this format waits for it

    arrays = model.arrays
    if side == "items":
        ids, name, matrix, counts = model.items, "x", arrays.X, arrays.item_counts
        columns = {"mean": arrays.item_means, **({} if arrays.c is None else {"c": arrays.c[0]})}
    else:
        ids, name, matrix, counts = model.users, "w", arrays.W, arrays.user_counts
        columns = {"b": arrays.b[0]}

    def table(some: slice, rows: Floats) -> pl.DataFrame:
        numbers = {column: values[some] for column, values in columns.items()}
        numbers["count"] = counts[some].astype(np.int64)
        in_order = ("id", *(column for column in ORDER if column in numbers), name)
        return pl.DataFrame({"id": ids.raw[some], **numbers, name: _row_column(rows)}).select(in_order)

    start, stop = (len(ids) * number // num_parts for number in (part, part + 1))
    none = table(slice(0, 0), matrix[0:0])
    source = register_io_source(lambda *_: starmap(table, blocks_of(matrix, start, stop)), schema=none.schema)
    source.sink_parquet(file)


def _row_column(matrix: Floats) -> pl.Series:
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
