"""Commands; each parses, loads the config and calls one function."""

import json
import os
import sys
import time
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cofi_dist import __version__
from cofi_dist.config import load_config
from cofi_dist.errors import CofiError, PeerError

# torch takes seconds to import, so the commands that need it import what they call themselves.

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False)]


class Form(StrEnum):
    """What `export` writes."""

    pt = "pt"
    npz = "npz"
    safetensors = "safetensors"


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


@app.command()
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


@app.command()
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


@app.command()
def config(
    file: Annotated[Path, typer.Argument(help="YAML file.", show_default=False)], overrides: Overrides = None
) -> None:
    """Print the resolved config, or what is wrong with it."""
    print(load_config(file, overrides or []).to_yaml(), end="")


def main() -> NoReturn:
    """The command line. Exit codes: 0 done, 2 the user's mistake (one line), 1 a bug (traceback)."""
    try:
        code = app(standalone_mode=False) or 0
    except CofiError as error:
        code = _complain(error)
    except KeyboardInterrupt:
        print("cofi-dist: interrupted", file=sys.stderr)
        code = 130
    except typer.Exit as error:
        code = error.exit_code
    except Exception as error:
        if hasattr(error, "show"):  # click's own, such as a missing option
            error.show()
            code = 2
        else:
            code = _confess(error)
    sys.stdout.flush()
    sys.stderr.flush()
    if code and "WORLD_SIZE" in os.environ:
        # a rank that fails must go at once: interpreter exit would wait for its peers' sockets
        os._exit(code)
    sys.exit(code)


def _confess(error: Exception) -> int:
    """A bug of ours: its traceback; returns the exit code."""
    traceback.print_exc()
    _tell_launcher(f"{type(error).__name__}: {error}")
    return 1


def _complain(error: CofiError) -> int:
    """Print the error once for all ranks; returns the exit code."""
    rank = os.environ.get("RANK", "0")
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if error.shared and rank != "0":
        return 2
    who = "" if alone or error.shared else f"rank {rank}: "
    sys.stderr.write(f"cofi-dist: {who}{error}\n")  # in one piece: other ranks write there too
    sys.stderr.flush()
    if not alone and not isinstance(error, PeerError):
        _tell_launcher(str(error))
    return 1 if isinstance(error, PeerError) else 2


def _tell_launcher(message: str) -> None:
    """Leave the message where torchrun looks for the root cause of a failure."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file:
        # the form that torchrun's own error handler writes; py_callstack is what it prints
        details = {"py_callstack": message, "timestamp": str(int(time.time()))}
        with open(file, "w") as handle:
            json.dump({"message": {"message": message, "extraInfo": details}}, handle)
