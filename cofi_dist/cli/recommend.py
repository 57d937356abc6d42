"""Define the command `recommend`, which recommends items to users."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import ListLength, MinRatings, Prepared, Run, Titles
from cofi_dist.cli.input_files import read_ratings, read_titles, warn_if_untitled
from cofi_dist.cli.list_notes import ListNotes, describe_unknown_list, has_rated
from cofi_dist.cli.output_tables import Replace, id_column_names, require_writable, write_table
from cofi_dist.cli.progress import Progress
from cofi_dist.cli.tables import print_table, say_if_scores, warn_if_diverged
from cofi_dist.errors import CofiError, ConfigError, DataError
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.model import Model, RunRatings


def recommend(
    run: Run,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="A user of the data.", show_default=False)
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="Ratings or events of somebody not in the data.", show_default=False)
    ] = None,
    prepared: Prepared = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every user of the data; needs --output.")] = False,
    k: ListLength = 10,
    min_ratings: MinRatings = 0,
    titles: Titles = None,
    output: Annotated[
        Path | None, typer.Option(help=".csv or .parquet file for the lists of --all.", show_default=False)
    ] = None,
    replace: Replace = False,
) -> None:
    """List the unrated items that a user would rate highest.

    With a model of events, list the items with the highest scores that the user has no events of.
    """
    if (user is not None) + (ratings is not None) + everyone != 1:
        raise ConfigError("give one of --user, --ratings and --all")
    if everyone != (output is not None):
        raise ConfigError("--all and --output FILE go together")
    if replace and output is None:
        raise ConfigError("--replace is for --output FILE; leave it out")
    if everyone and titles is not None:
        raise ConfigError("--titles are for one user's list on the screen; leave --titles or --all out")
    if ratings is not None and prepared is not None:
        raise ConfigError("--prepared is for users of the model; leave it or --ratings out")
    if output is not None:
        require_writable(output, replace=replace)
    model = _load_model(run)
    notes = ListNotes(model, k, min_ratings)
    if output is not None:
        _recommend_all(model, _run_ratings(model, run, prepared), k, min_ratings, notes, output)
        return
    title_of = read_titles(titles, model.facts.columns.item)
    if user is not None:
        table, who = _recommend_known(model, _run_ratings(model, run, prepared), user, k, min_ratings)
    else:
        assert ratings is not None
        table, who = _recommend_new(model, ratings, k, min_ratings), "this user"
    notes.add(table)
    _print_list(model, table, title_of)
    warn_if_untitled(titles, title_of, table["item"])
    for note in notes.for_one_list(who):
        log_stderr(note)


def _load_model(run: Path) -> "Model":
    from cofi_dist.model import Model

    model = Model.load(run)
    warn_if_diverged(model)
    return model


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


def _recommend_all(
    model: "Model", rated: "RunRatings | None", k: int, min_ratings: int, notes: ListNotes, output: Path
) -> None:
    from polars.io.plugins import register_io_source

    from cofi_dist.model.scoring import user_batches

    results = ("rank", *([] if model.facts.is_implicit else ["prediction"]), "score")
    user, item = id_column_names(model.facts.columns, results)
    progress = Progress("recommending", "users")

    def named_batches() -> Iterator["pl.DataFrame"]:
        tables_of_batches = model.recommend_all(k, rated, min_ratings=min_ratings)
        for users, table in zip(
            user_batches(len(model.users), min(k, len(model.items))), tables_of_batches, strict=True
        ):
            notes.add(table)
            progress.add(len(users), len(model.users))
            in_order = table.select("user", "rank", "item", *results[1:])
            yield in_order.rename({"user": user, "item": item})

    with progress:
        tables = named_batches()
        first = next(tables)
        write_table(register_io_source(lambda *_: chain([first], tables), schema=first.schema), output)
    what = "the best item" if k == 1 else f"the {k:,} best items"
    log_stderr(f"{what} of {counted(len(model.users), 'user')} written to {output}")
    say_if_scores(model)
    for note in notes.for_all_users():
        log_stderr(note)


def _recommend_known(
    model: "Model", rated: "RunRatings | None", user: str, k: int, min_ratings: int
) -> tuple["pl.DataFrame", str | None]:
    """Return a user's list, and who that is if it is known which items they have rated."""
    from cofi_dist.model.arguments import find_row

    table = model.recommend(user, k, rated.items_of(user) if rated else (), min_ratings)
    if not model.arrays.user_counts[find_row(model.users, user, "user")]:
        log_stderr(f"user {user} has no training {model.facts.noun}s: this is {describe_unknown_list(model)}")
    return table, f"user {user}" if rated else None


def _recommend_new(model: "Model", path: Path, k: int, min_ratings: int) -> "pl.DataFrame":
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
    return model.recommend(folded, k, min_ratings=min_ratings)


def _run_ratings(model: "Model", run: Path, prepared: Path | None) -> "RunRatings | None":
    """Return the run's ratings, or say that items may be recommended that a user has rated."""
    try:
        rated = model.rated(run, prepared)
    except CofiError as error:
        log_stderr(f"items that a user {has_rated(model)} are not left out: {error}")
        return None
    if rated.note:
        log_stderr(rated.note)
    return rated
