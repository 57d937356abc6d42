"""Commands that make a model: train, config."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.config import load_config

# torch takes seconds to import, so a command that needs it imports what it calls itself.

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False)]


def train(
    config: Annotated[Path, typer.Option(help="YAML file.", show_default=False)],
    overrides: Overrides = None,
    replace: Annotated[bool, typer.Option("--replace", help="Lose the run that run_dir holds.")] = False,
) -> None:
    """Train; under torchrun, on all its ranks."""
    from cofi_dist.distributed import open_comm
    from cofi_dist.run import train as train_run

    comm = open_comm()
    run_dir = train_run(config, overrides or [], comm, replace=replace)
    if comm.rank == 0:
        print(f"\nThe model is in {run_dir}/model.", file=sys.stderr)
        print("Next, its factors as the notebook saves them:", file=sys.stderr)
        print(f"  cofi-dist export {run_dir} --format pt --output {run_dir}/export", file=sys.stderr)
    comm.close()


def config(
    file: Annotated[Path, typer.Argument(help="YAML file.", show_default=False)], overrides: Overrides = None
) -> None:
    """Print the resolved config, or what is wrong with it."""
    print(load_config(file, overrides or []).to_yaml(), end="")
