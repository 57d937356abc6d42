"""Define the command `config`, which checks and prints a config."""

from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Overrides
from cofi_dist.config import load_config


def config(
    file: Annotated[Path, typer.Argument(help="YAML file.", show_default=False)], overrides: Overrides = None
) -> None:
    """Print the resolved config, or what is wrong with it."""
    print(load_config(file, overrides or []).to_yaml(), end="")
