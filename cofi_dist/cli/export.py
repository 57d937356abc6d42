"""Define the command `export`, which writes a model for other programs."""

import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import Run
from cofi_dist.cli.list_parts import require_writable_lists, write_parts
from cofi_dist.cli.loaded_run import load_model
from cofi_dist.cli.progress import Progress, working
from cofi_dist.cli.session import Session
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import ConfigError
from cofi_dist.files.atomic import atomic_file

if TYPE_CHECKING:
    from cofi_dist.model import Model
    from cofi_dist.model.parts import Side


class Form(StrEnum):
    """List the formats that `export` writes."""

    pt = "pt"
    npz = "npz"
    safetensors = "safetensors"
    parquet = "parquet"
    vectors = "index"  # `index` is a method of text


def export(
    context: typer.Context,
    run: Run,
    output: Annotated[Path, typer.Option(help="Directory for the files.", show_default=False)],
    form: Annotated[
        Form, typer.Option("--format", metavar="FORMAT", help="pt, npz, safetensors, parquet or index.")
    ] = Form.pt,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite files.")] = False,
) -> None:
    """Write the model for other programs.

    Under torchrun, its ranks write a part each (parquet).
    """
    from cofi_dist.model.export import export as export_model

    session: Session = context.obj
    comm = session.meet(context)
    if comm.world_size > 1:
        _export_parts(comm, run, form, output, replace=replace)
        return
    model = load_model(comm, run)
    if form is Form.vectors:  # it is written at once, after it was built for long
        with working("building the index"):
            files = export_model(model, form, output, replace=replace)
    else:
        with Progress("exporting", "MB") as progress:
            on_write = _counter(progress, model)
            files = export_model(model, form, output, replace=replace, on_write=on_write)
    for file in files:
        print(file)


def _counter(progress: Progress, model: "Model", num_ranks: int = 1) -> Callable[[int], None]:
    """Return what counts the bytes that this rank writes, of all that are about to be written."""
    rows = model.arrays.rows_by_name.values()
    total = sum(math.prod(each.shape) * each.dtype.itemsize for each in rows) / 1e6

    def count(written: int) -> None:
        progress.add(written * num_ranks / 1e6, total)

    return count


def _export_parts(comm: Comm, run: Path, form: Form, output: Path, *, replace: bool) -> None:
    """Write a folder of items and one of users, with a part of each rank. Collective: all ranks call it."""
    from cofi_dist.model.export import SIDES, write_parquet

    if form is not Form.parquet:
        raise ConfigError(f"--format {form}: is written by one process; ranks write parquet", shared=True)
    folders = [output / side for side in SIDES]

    def check() -> None:
        for folder in folders:
            require_writable_lists(folder, comm.world_size, replace=replace)

    comm.from_rank_zero(check)
    model = load_model(comm, run)
    with Progress("exporting", "MB", hidden=comm.rank != 0) as progress:
        on_write = _counter(progress, model, comm.world_size)
        for side, folder in zip(SIDES, folders, strict=True):

            def write(file: Path, side: "Side" = side) -> None:
                with atomic_file(file) as opened:
                    opened.on_write = on_write
                    write_parquet(model, side, opened, comm.rank, comm.world_size)

            write_parts(comm, folder, write, replace=replace)
    if comm.rank == 0:
        print(*folders, sep="\n")
