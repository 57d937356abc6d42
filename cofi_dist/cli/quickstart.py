"""Define the command `quickstart`, which trains a first model on made-up ratings."""

import shlex
from importlib.resources import as_file, files
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Overrides
from cofi_dist.cli.train import train_and_tell
from cofi_dist.streams import log_stderr

CONFIG = files("cofi_dist.config") / "quickstart.yaml"
NEXT = """
To list the best items for user 1, and the items most like item 1:
  cofi-dist recommend {run} --user 1 -k 5 --min-ratings 10
  cofi-dist similar {run} --item 1 -k 5 --min-ratings 10
To train on ratings of your own, with columns userId, movieId and rating:
  echo 'data: {{ratings: ratings.csv}}' > mine.yaml
  cofi-dist train --config mine.yaml"""


def quickstart(
    context: typer.Context,
    overrides: Overrides = None,
    replace: Annotated[bool, typer.Option("--replace", help="Delete the run that run_dir holds.")] = False,
) -> None:
    """Train a first model on made-up ratings, in half a minute.

    The run is written to runs/quickstart, unless run_dir=DIR says another folder.
    """
    with as_file(CONFIG) as config:
        run_dir = train_and_tell(context, config, overrides, replace=replace)
    if run_dir is not None:
        log_stderr(NEXT.format(run=shlex.quote(str(run_dir))))
