"""Define the command `warm-up`, which compiles the loops before they are first needed."""

import time
from typing import Annotated

import typer

from cofi_dist.cli.progress import working
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted


def warm_up(
    features: Annotated[
        list[int] | None,
        typer.Option(metavar="K", help="The models' model.num_features; may be repeated.", min=1),
    ] = None,
) -> None:
    """Compile the loops that trainings and lists on the CPU need.

    Without it, the first of them does so. Call it after installing, for example in a Dockerfile.
    """
    from cofi_dist.config import Config
    from cofi_dist.fitting.warm_up import warm_up as compile_loops

    num_features = features or [
        Config.model_fields["model"].get_default(call_default_factory=True).num_features
    ]
    log_stderr(
        f"compiling the loops of lists, and of models with {' and '.join(map(str, num_features))} features"
    )
    begun = time.perf_counter()
    with working("compiling"):
        new = compile_loops(num_features)
    took = f"{counted(new, 'loop')} compiled in {time.perf_counter() - begun:.0f} s"
    print(took if new else "all of them are compiled already")
