"""Define the command `recommend`, which recommends items to users."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import Device, DeviceName, ListLength, MinRatings, Prepared, Run, Titles
from cofi_dist.cli.input_files import read_ratings, read_titles, warn_if_untitled
from cofi_dist.cli.list_limits import Candidates, Exclude, LimitFiles
from cofi_dist.cli.list_notes import ListNotes, describe_unknown_list
from cofi_dist.cli.loaded_run import choose_device, load_model
from cofi_dist.cli.many_lists import WrittenLists, load_rated, write_many
from cofi_dist.cli.output_tables import Replace
from cofi_dist.cli.tables import print_table, say_if_scores
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import ConfigError, DataError
from cofi_dist.streams import log_stderr
from cofi_dist.system.launcher import Launcher
from cofi_dist.system.variables import read_variable
from cofi_dist.words import counted

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.model import FoldedUser, Model

User = Annotated[str | None, typer.Option(metavar="ID", help="A user of the data.", show_default=False)]
OwnRatings = Annotated[
    Path | None, typer.Option(help="Ratings or events of somebody not in the data.", show_default=False)
]
Users = Annotated[
    Path | None, typer.Option(help="File of users of the data; needs --output.", show_default=False)
]
Everyone = Annotated[bool, typer.Option("--all", help="Every user of the data; needs --output.")]
Output = Annotated[
    Path | None,
    typer.Option(
        help="For many users: a .csv or .parquet file, or a directory of Parquet parts, one of each rank.",
        show_default=False,
    ),
]


def recommend(
    context: typer.Context,
    run: Run,
    user: User = None,
    ratings: OwnRatings = None,
    users: Users = None,
    everyone: Everyone = False,
    k: ListLength = 10,
    candidates: Candidates = None,
    exclude: Exclude = None,
    min_ratings: MinRatings = 0,
    titles: Titles = None,
    output: Output = None,
    replace: Replace = False,
    device: Device = DeviceName.auto,
    prepared: Prepared = None,
) -> None:
    """List the unrated items that a user would rate highest.

    With a model of events, list the items with the highest scores that the user has no events of. Under
    torchrun, its ranks share the users of --all and --users.
    """
    if sum((user is not None, ratings is not None, users is not None, everyone)) != 1:
        raise ConfigError("give one of --user, --ratings, --users and --all", shared=True)
    limits = LimitFiles(min_ratings, candidates, exclude)
    if everyone or users is not None:
        if output is None:
            raise ConfigError("--all and --users need --output, a file or a directory", shared=True)
        if titles is not None:
            raise ConfigError("--titles are for one user's list on the screen; leave them out", shared=True)
        comm = context.obj.meet(context)
        manner = WrittenLists(k, limits, choose_device(comm, device), output, replace)
        write_many(comm, run, prepared, users, manner)
        comm.close()
        return
    _require_one_list(ratings, output, prepared, device, replace=replace)
    model = load_model(SoloComm(), run)
    if user is not None:
        _print_known(model, run, prepared, user, k, limits, titles)
    else:
        assert ratings is not None
        _print_new(model, ratings, k, limits, titles)


def _require_one_list(
    ratings: Path | None, output: Path | None, prepared: Path | None, device: str, *, replace: bool
) -> None:
    """Raise ConfigError if what was given is not for one user's list."""
    if output is not None:
        raise ConfigError("--output is for --all and --users; leave it out", shared=True)
    if replace:
        raise ConfigError("--replace is for --output; leave it out", shared=True)
    if device != DeviceName.auto:
        raise ConfigError("--device is for --all and --users; leave it out", shared=True)
    if ratings is not None and prepared is not None:
        raise ConfigError("--prepared is for users of the model; leave it or --ratings out", shared=True)
    if read_variable("WORLD_SIZE") not in ("", "1") and Launcher.find() is not None:
        raise ConfigError("one process makes one user's list; leave torchrun out", shared=True)


def _print_known(
    model: "Model",
    run: Path,
    prepared: Path | None,
    user: str,
    k: int,
    limit_files: LimitFiles,
    titles: Path | None,
) -> None:
    from cofi_dist.model.arguments import find_row

    rated = load_rated(SoloComm(), model, run, prepared)
    limits = limit_files.read(model)
    title_of = read_titles(titles, model.facts.columns.item)
    table = model.recommend(user, k, rated=rated, **limits.arguments)
    if not model.arrays.user_counts[find_row(model.users, user, "user")]:
        log_stderr(f"user {user} has no training {model.facts.noun}s: this is {describe_unknown_list(model)}")
    notes = ListNotes(model, k, limits, leaves_out_rated=rated is not None)
    _print_list(model, table, title_of)
    warn_if_untitled(titles, title_of, table["item"])
    notes.add(table)
    for note in notes.for_one_list(f"user {user}"):
        log_stderr(note)


def _print_new(model: "Model", ratings: Path, k: int, limit_files: LimitFiles, titles: Path | None) -> None:
    limits = limit_files.read(model)
    if limits.has_pairs:
        raise DataError(
            f"{limit_files.exclude}: holds pairs of users of the model; with --ratings, give items"
        )
    title_of = read_titles(titles, model.facts.columns.item)
    table = model.recommend(_folded_in(model, ratings), k, **limits.arguments)
    notes = ListNotes(model, k, limits)
    _print_list(model, table, title_of)
    warn_if_untitled(titles, title_of, table["item"])
    notes.add(table)
    for note in notes.for_one_list("this user"):
        log_stderr(note)


def _print_list(model: "Model", table: "pl.DataFrame", title_of: dict[str, str]) -> None:
    """Print a user's list; if predictions are clipped, with the scores that decide its order."""
    figures = {"score": [f"{score:.3f}" for score in table["score"]]}
    if "prediction" in table.columns:
        predicted, scores = ([f"{x:.2f}" for x in table[name]] for name in ("prediction", "score"))
        figures = (
            {"predicted": predicted} if predicted == scores else {"predicted": predicted, "score": scores}
        )
    items = [str(item) for item in table["item"]]
    titles = [title_of.get(item, "") for item in items]
    rows = list(zip(map(str, table["rank"]), *figures.values(), items, titles, strict=True))
    say_if_scores(model)
    print_table(("rank", *figures, model.facts.columns.item, "title" if title_of else ""), rows)


def _folded_in(model: "Model", path: Path) -> "FoldedUser":
    """Return the user whose ratings or events a file holds."""
    from cofi_dist.data.readers.tables import has_column

    columns = model.facts.columns
    if not has_column(path, columns.user):  # which a new user's file need not: the items stand in for it
        columns = columns.model_copy(update={"user": columns.item})
    table = read_ratings(path, columns, model.facts.feedback)
    count, noun = table["user"].n_unique(), model.facts.noun
    if columns.user != columns.item and count > 1:
        raise DataError(f"{path}: holds {noun}s of {count:,} users; give those of one")
    try:
        folded = model.fold_in(table["item"], table["value"].to_numpy())
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if folded.unknown:
        of = f"{folded.unknown:,} of {counted(len(table), noun)}"
        log_stderr(f"{path}: {of} {'is' if folded.unknown == 1 else 'are'} of unknown items; not used")
    return folded
