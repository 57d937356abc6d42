"""Define the command `evaluate`, which measures how good a model is."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cofi_dist.cli.arguments import Device, DeviceName, Files, Prepared, Run
from cofi_dist.cli.evaluation_table import print_evaluation
from cofi_dist.cli.input_files import read_ratings
from cofi_dist.cli.loaded_run import choose_device, load_everywhere, load_model, load_ratings
from cofi_dist.cli.progress import Progress, announce_compilation
from cofi_dist.cli.session import Session
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import ConfigError, DataError, RunError
from cofi_dist.files.atomic import refuse_existing, write_atomically
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model import Evaluation, Model, RunRatings
    from cofi_dist.model.held_out import HeldOut


class HeldOutPart(StrEnum):
    """Hold the held-out ratings of a run."""

    test = "test"
    validation = "validation"


OtherRatings = Annotated[
    Files | None,
    typer.Option(help="Ratings files to judge by instead of the run's own ratings.", show_default=False),
]
Part = Annotated[
    HeldOutPart | None,
    typer.Option(help="Of the run's own ratings; if not set, test, else validation.", show_default=False),
]
Output = Annotated[Path | None, typer.Option(help=".json file for the figures.", show_default=False)]
Relevant = Annotated[
    float | None,
    typer.Option(
        metavar="RATING",
        help="Items rated this or more are relevant; if not set, all are.",
        show_default=False,
    ),
]
Users = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Judge about N users, those of validation.users: N; if not set, all.",
        show_default=False,
        min=1,
    ),
]


def evaluate(
    context: typer.Context,
    run: Run,
    ratings: OtherRatings = None,
    part: Part = None,
    prepared: Prepared = None,
    k: Annotated[int, typer.Option("-k", metavar="N", help="Length of the lists to rank by.", min=1)] = 10,
    relevant: Relevant = None,
    users: Users = None,
    output: Output = None,
    device: Device = DeviceName.auto,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite the file.")] = False,
) -> None:
    """Measure RMSE, MAE and ranking on held-out ratings.

    Under torchrun, its ranks share the work.
    """
    from cofi_dist.model.evaluate import evaluate as evaluate_model

    session: Session = context.obj
    comm = session.meet(context)
    comm.from_rank_zero(lambda: _require_useful(ratings, part, output, replace=replace))
    chosen = choose_device(comm, device)
    model = load_model(comm, run)
    rated, why_not = load_ratings(comm, model, run, prepared, needed=ratings is None)
    held_out, name = load_everywhere(
        comm,
        lambda: _held_out_ratings(model, run, rated, ratings, part, comm),
        _description,
        "what it is judged by",
    )
    announce_compilation(comm)
    with Progress("evaluating", "users", hidden=comm.rank != 0) as progress:
        found = evaluate_model(
            model.scorer,
            held_out,
            rated,
            k=k,
            relevant=relevant,
            sample=users,
            comm=comm,
            on_progress=progress.add,
            device=chosen,
        )
    if comm.rank == 0:
        _say_what_is_not_ranked(model, k, rated, why_not)
        print_evaluation(found, name, model.fallbacks, is_implicit=model.scorer.is_implicit)
        if output is not None:
            _write(found, output)
    comm.close()


def _say_what_is_not_ranked(model: "Model", k: int, rated: "RunRatings | None", why_not: str | None) -> None:
    if rated and rated.note:
        log_stderr(rated.note)
    if why_not:
        log_stderr(f"no ranking, as lists must leave out what was trained on: {why_not}")
    elif k > len(model.items):
        log_stderr(f"-k {k}: the model has {counted(len(model.items), 'item')}; no list is longer than that")


def _require_useful(
    ratings: str | None, part: HeldOutPart | None, output: Path | None, *, replace: bool
) -> None:
    if ratings is not None and part is not None:
        raise ConfigError("--part chooses among the run's own ratings; leave it or --ratings out")
    if output is not None:
        refuse_existing(output, replace=replace)
    elif replace:
        raise ConfigError("--replace is for --output FILE; leave it out")


def _description(judges: tuple["HeldOut", str]) -> list[Any]:
    """Return how many users and items there are, and what the ratings are called."""
    held_out, name = judges
    return [held_out.num_users, held_out.num_items, name]


def _held_out_ratings(
    model: "Model",
    run: Path,
    rated: "RunRatings | None",
    ratings: str | None,
    part: HeldOutPart | None,
    comm: Comm,
) -> tuple["HeldOut", str]:
    """Return the ratings to judge by, and what to call them."""
    from cofi_dist.model.held_out import HeldOut

    if ratings is not None:
        columns, feedback = model.facts.columns, model.facts.feedback
        table = read_ratings(ratings, columns, feedback, aloud=comm.rank == 0)
        try:
            return HeldOut.from_table(model.users, model.items, table, feedback), ratings
        except DataError as error:
            raise DataError(f"{ratings}: {error}") from None
    assert rated is not None
    wanted = [part] if part else list(HeldOutPart)
    for each in wanted:
        if each in rated.parts:
            return HeldOut.from_run(rated, each.value), f"the {each} part of {run}"
    which = " or ".join(wanted)
    raise RunError(
        f"{run}: has no {which} ratings; train with data.{wanted[0]} set, such as data.{wanted[0]}={{}},"
        " or give --ratings FILE"
    )


def _write(found: "Evaluation", output: Path) -> None:
    write_atomically(output, json.dumps(found.to_json(), indent=2) + "\n")
