"""Define the command `export`, which writes a model for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Run
from cofi_dist.cli.tables import warn_if_diverged


class Form(StrEnum):
    """List the formats that `export` writes."""

    pt = "pt"
    npz = "npz"
    safetensors = "safetensors"
    parquet = "parquet"
    vectors = "index"  # `index` is a method of text


def export(
    run: Run,
    output: Annotated[Path, typer.Option(help="Directory for the files.", show_default=False)],
    form: Annotated[
        Form, typer.Option("--format", metavar="FORMAT", help="pt, npz, safetensors, parquet or index.")
    ] = Form.pt,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite files.")] = False,
) -> None:
    """Write the model for other programs."""
    from cofi_dist.model import Model
    from cofi_dist.model.export import export as export_model

    model = Model.load(run)
    warn_if_diverged(model)
    for file in export_model(model, form, output, replace=replace):
        print(file)
