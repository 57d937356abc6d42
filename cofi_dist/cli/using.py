"""Commands that use a trained model: export."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """What `export` writes."""

    pt = "pt"
    npz = "npz"
    safetensors = "safetensors"


def export(
    run: Annotated[Path, typer.Argument(help="Run directory.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Directory for the files.", show_default=False)],
    form: Annotated[Form, typer.Option("--format", help="What to write.")] = Form.pt,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite files.")] = False,
) -> None:
    """Write X, W and b for other programs."""
    from cofi_dist.model import Model
    from cofi_dist.model.export import export as export_model

    for file in export_model(Model.load(run / "model"), form, output, replace=replace):
        print(file)
