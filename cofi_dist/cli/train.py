"""Define the command `train`, which trains a model."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Overrides
from cofi_dist.cli.progress import Steps, announce_compilation
from cofi_dist.cli.session import Session
from cofi_dist.run.stop import Phase
from cofi_dist.streams import log_stderr
from cofi_dist.system.torch_import import import_torch


def train(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="YAML file.", show_default=False)],
    overrides: Overrides = None,
    replace: Annotated[bool, typer.Option("--replace", help="Delete the run that run_dir holds.")] = False,
) -> None:
    """Train a model; under torchrun, on all its ranks."""
    train_and_tell(context, config, overrides, replace=replace)


def train_and_tell(
    context: typer.Context, config: Path, overrides: list[str] | None, *, replace: bool
) -> Path | None:
    """Train a model, say where it is, and return its run directory; rank 0 alone says and returns it."""
    import_torch()
    from cofi_dist.config import load_config
    from cofi_dist.run.train import train as train_run

    session: Session = context.obj
    with session.stop.phase(Phase.STARTING):
        comm = session.meet(
            context, lambda: load_config(config, overrides or []).model_dump(exclude_none=True)
        )
        announce_compilation(comm)
        with Steps("ratings") as steps:
            run_dir = train_run(
                config, overrides or [], comm, replace=replace, stop=session.stop, on_step=steps
            )
    told = comm.rank == 0
    if told:
        run, output = (shlex.quote(str(path)) for path in (run_dir, run_dir / "export"))
        log_stderr(f"\nThe model is in {run_dir}/model.\nTo export its factors as the notebook saves them:")
        log_stderr(f"  cofi-dist export {run} --format pt --output {output}")
    comm.close()
    return run_dir if told else None
