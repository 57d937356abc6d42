"""Define the command `config`, which checks and prints a config."""

from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Overrides


def config(
    file: Annotated[Path, typer.Argument(help="YAML file.", show_default=False)], overrides: Overrides = None
) -> None:
    """Print the resolved config, or what is wrong with it."""
    from cofi_dist.config import load_config  # the types of all keys take time to build

    print(load_config(file, overrides or []).to_yaml(), end="")
