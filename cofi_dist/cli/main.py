"""Define the command line: all commands, and how the process begins and ends."""

import gc
import os
import sys
from typing import Annotated, NoReturn

import typer

from cofi_dist.cli import data
from cofi_dist.cli.arguments import StrictCommand, with_plain_paths
from cofi_dist.cli.checkpoints import checkpoints
from cofi_dist.cli.compare import compare
from cofi_dist.cli.config import config
from cofi_dist.cli.evaluate import evaluate
from cofi_dist.cli.explain import explain
from cofi_dist.cli.explore import explore
from cofi_dist.cli.export import export
from cofi_dist.cli.failures import exit_code, flush_streams
from cofi_dist.cli.help import HelpfulGroup
from cofi_dist.cli.plot import plot
from cofi_dist.cli.predict import predict
from cofi_dist.cli.prepare import prepare
from cofi_dist.cli.quickstart import quickstart
from cofi_dist.cli.recommend import recommend
from cofi_dist.cli.report import report
from cofi_dist.cli.session import Session
from cofi_dist.cli.similar import similar
from cofi_dist.cli.slurm import slurm
from cofi_dist.cli.train import train
from cofi_dist.cli.tune import tune
from cofi_dist.cli.update import update
from cofi_dist.cli.warm_up import warm_up
from cofi_dist.run.stop import Interrupted
from cofi_dist.streams import open_streams
from cofi_dist.system.variables import clean_library_variables, read_variable
from cofi_dist.version import __version__

app = typer.Typer(
    cls=HelpfulGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"color": False},  # Typer's own words; stdout would show its control sequences
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"cofi-dist {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Collaborative filtering on any number of ranks; see the README for a tour."""


for command in (
    *(quickstart, train, update, tune, prepare, config, warm_up),
    *(evaluate, predict, recommend, explain, similar, explore, export),
    *(plot, report, checkpoints, compare, slurm),
):
    app.command(cls=StrictCommand)(with_plain_paths(command))
app.add_typer(data.app, name="data")


def main() -> NoReturn:
    """Run the command line, and exit.

    Exit codes: 0 for success, 2 for a mistake of the user (one line), 1 for a failure, 75 for a training that
    was asked to stop and can be resumed, 128 + its number for a signal elsewhere.
    """
    open_streams()
    session = Session()
    session.stop.listen()  # before the slow imports
    # the imports make half a million objects that stay: to look through them again and again takes 0.1 s
    gc.set_threshold(100_000, 50, 100)
    try:
        clean_library_variables()
        code = app(prog_name="cofi-dist", standalone_mode=False, obj=session) or 0
    except BaseException as error:
        # if a signal comes while a library of Rust calls Python, its panic is no Exception
        if not isinstance(error, Exception | Interrupted) and session.stop.raised is None:
            raise
        code = exit_code(error, session)
    gc.freeze()  # or the end of the process would look through them, which takes 0.2 s
    code = flush_streams(code)
    if code and read_variable("WORLD_SIZE") not in ("", "1"):
        # a rank that fails must go at once: interpreter exit would wait for its peers' sockets
        os._exit(code)
    sys.exit(code)
