"""Define the command `update`, which brings a run's model up to date with new ratings."""

from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Files, Prepared, Run
from cofi_dist.cli.progress import working
from cofi_dist.cli.tables import warn_if_diverged
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted


def update(
    run: Run,
    ratings: Annotated[Files, typer.Option(help="Files with the new ratings.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Run directory to make.", show_default=False)],
    prepared: Prepared = None,
) -> None:
    """Join new ratings with a run's, and solve what they touch.

    The users and items that have new ratings are solved on all their ratings. All others stay as they are.
    The result is a run directory.
    """
    from cofi_dist.model import Model
    from cofi_dist.run.update import refuse_output, update_run

    refuse_output(output, run)
    model = Model.load(run)
    warn_if_diverged(model)
    rated = model.rated(run, prepared)
    if rated.note:
        log_stderr(rated.note)
    with working("updating"):
        done = update_run(model, ratings, rated, output)
    for note in done.notes:
        print(note)
    users, items = counted(len(done.join.new_users), "user"), counted(len(done.join.new_items), "item")
    print(f"{users} and {items} solved on all their ratings; the model is in {output}")
