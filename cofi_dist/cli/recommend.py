"""Commands that use a trained model: predict, recommend, similar, export."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.evaluate import Prepared
from cofi_dist.cli.input_files import read_ratings, read_titles, say_if_untitled
from cofi_dist.cli.list_notes import Lists
from cofi_dist.cli.progress import Progress
from cofi_dist.cli.tables import show, warn_of
from cofi_dist.errors import CofiError, ConfigError, DataError
from cofi_dist.files import refuse_existing, whole_file
from cofi_dist.streams import say
from cofi_dist.words import counted

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.config import Columns
    from cofi_dist.model import Model, RunRatings

Run = Annotated[Path, typer.Argument(help="Run directory, or that of a model.", show_default=False)]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite files.")]
Titles = Annotated[
    Path | None, typer.Option(help="File of titles: movies.csv, movies.dat or u.item.", show_default=False)
]
Count = Annotated[int, typer.Option("-k", metavar="N", help="Length of a list.", min=1)]
AtLeast = Annotated[
    int, typer.Option(metavar="N", help="Leave out items with fewer training ratings.", min=0)
]


class Form(StrEnum):
    """What `export` writes."""

    pt = "pt"
    npz = "npz"
    safetensors = "safetensors"
    parquet = "parquet"
    vectors = "index"  # `index` is a method of text


def export(
    run: Run,
    output: Annotated[Path, typer.Option(help="Directory for the files.", show_default=False)],
    form: Annotated[
        Form, typer.Option("--format", metavar="FORMAT", help="pt, npz, safetensors, parquet or index.")
    ] = Form.pt,
    replace: Replace = False,
) -> None:
    """Write the model for other programs."""
    from cofi_dist.model import Model
    from cofi_dist.model.export import export as export_model

    model = Model.load(run)
    warn_of(model)
    for file in export_model(model, form, output, replace=replace):
        print(file)


def predict(
    run: Run,
    pairs: Annotated[
        Path, typer.Option(help="File of pairs: a user and an item a line.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option(help=".csv or .parquet file for the predictions.", show_default=False)
    ],
    replace: Replace = False,
) -> None:
    """Predict the rating of each pair of a file."""
    import polars as pl

    from cofi_dist.model import Model
    from cofi_dist.model.evaluate import seen
    from cofi_dist.model.predict import predict_rows

    _refuse_output(output, replace=replace)
    model = Model.load(run)
    warn_of(model)
    columns = model.facts.columns
    table = read_ratings(pairs, columns, rating=False)
    sides = (("user", model.users, model.user_counts), ("item", model.items, model.item_counts))
    rows = []
    for (name, ids, counts), instead in zip(sides, model.fallbacks, strict=True):
        rows.append(ids.find(table[name]))
        unseen = table[name].filter(pl.Series(~seen(counts, rows[-1])))
        if len(unseen):
            count = f"{len(unseen):,} of {counted(len(table), 'pair')}"
            who = counted(unseen.n_unique(), name)
            say(f"{count} are of {who} without training ratings: predicted {instead}")
    with Progress("predicting", "pairs") as progress:
        prediction = predict_rows(model, rows[0], rows[1], progress.add)
    user, item = _names_of_ids(columns, ("prediction",))
    pairs_of = table.select(pl.col("user").alias(user), pl.col("item").alias(item))
    _write(pairs_of.with_columns(prediction=prediction).lazy(), output)
    say(f"{counted(len(table), 'prediction')} written to {output}")


def recommend(
    run: Run,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="A user of the data.", show_default=False)
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="Ratings of somebody who is not in the data.", show_default=False)
    ] = None,
    prepared: Prepared = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every user of the data; needs --output.")] = False,
    k: Count = 10,
    min_ratings: AtLeast = 0,
    titles: Titles = None,
    output: Annotated[
        Path | None, typer.Option(help=".csv or .parquet file for the lists of --all.", show_default=False)
    ] = None,
    replace: Replace = False,
) -> None:
    """List the unrated items that a user would rate highest."""
    from cofi_dist.model import Model

    if (user is not None) + (ratings is not None) + everyone != 1:
        raise ConfigError("say for whom: one of --user ID, --ratings FILE and --all")
    if everyone != (output is not None):
        raise ConfigError("--all and --output FILE go together")
    if replace and output is None:
        raise ConfigError("--replace is for --output FILE; leave it out")
    if everyone and titles is not None:
        raise ConfigError("--titles are for one user's list on the screen; leave them or --all out")
    if ratings is not None and prepared is not None:
        raise ConfigError("--prepared is for users of the model; leave it or --ratings out")
    if output is not None:
        _refuse_output(output, replace=replace)
    model = Model.load(run)
    warn_of(model)
    lists = Lists(model, k, min_ratings)
    if output is not None:
        _recommend_all(model, _rated(model, run, prepared), k, min_ratings, lists, output)
        return
    title_of = read_titles(titles, model.facts.columns.item)
    if user is not None:
        table, who = _recommend_known(model, _rated(model, run, prepared), user, k, min_ratings)
    else:
        assert ratings is not None
        table, who = _recommend_new(model, ratings, k, min_ratings), "this user"
    lists.add(table)
    _show_list(table, model.facts.columns.item, title_of)
    say_if_untitled(titles, title_of, table["item"])
    for note in lists.notes_of_one(who):
        say(note)


def _show_list(table: "pl.DataFrame", column: str, title_of: dict[str, str]) -> None:
    """Print a user's list, with the scores that put it in its order where predictions are clipped."""
    clipped = bool((table["prediction"].round(2) != table["score"].round(2)).any())
    rows = [
        (str(rank), f"{prediction:.2f}", *[f"{score:.2f}"] * clipped, str(item), title_of.get(str(item), ""))
        for rank, item, prediction, score in table.iter_rows()
    ]
    headers = ("rank", "predicted", *["score"] * clipped, column, "title" if title_of else "")
    show(headers, rows)


def similar(
    run: Run,
    item: Annotated[str, typer.Option(metavar="ID", help="An item of the data.", show_default=False)],
    k: Count = 10,
    min_ratings: AtLeast = 1,
    titles: Titles = None,
) -> None:
    """List the items whose features are most like one item's."""
    from cofi_dist.model import Model
    from cofi_dist.model.recommend import require_row

    model = Model.load(run)
    warn_of(model)
    column = model.facts.columns.item
    title_of = read_titles(titles, column)
    table = model.similar_items(item, k, min_ratings)
    lists = Lists(model, k, max(min_ratings, 1), require_row(model.items, item, "item"))
    lists.add(table)
    rows = [
        (str(place), f"{cosine:.3f}", str(other), title_of.get(str(other), ""))
        for place, other, cosine in table.iter_rows()
    ]
    show(("rank", "cosine", column, "title" if title_of else ""), rows)
    say_if_untitled(titles, title_of, table["item"])
    for note in lists.notes_of_one(None):
        say(note)


def _names_of_ids(columns: "Columns", results: Sequence[str]) -> tuple[str, str]:
    """What to call the columns of ids in an output, beside those of the results."""
    names = columns.user, columns.item
    if len({*names, *results}) == len(names) + len(results):
        return names
    say("the columns of ids are called user and item: a result, or the other one, has the name of theirs")
    return "user", "item"


def _recommend_all(
    model: "Model", rated: "RunRatings | None", k: int, min_ratings: int, lists: Lists, output: Path
) -> None:
    from polars.io.plugins import register_io_source

    from cofi_dist.model.scoring import blocks

    results = ("rank", "prediction", "score")
    user, item = _names_of_ids(model.facts.columns, results)
    progress = Progress("recommending", "users")

    def by_name() -> Iterator["pl.DataFrame"]:
        of_blocks = model.recommend_all(k, rated, min_ratings=min_ratings)
        for users, table in zip(blocks(len(model.users), len(model.items)), of_blocks, strict=True):
            lists.add(table)
            progress.add(len(users), len(model.users))
            in_order = table.select("user", "rank", "item", "prediction", "score")
            yield in_order.rename({"user": user, "item": item})

    with progress:
        tables = by_name()
        first = next(tables)
        _write(register_io_source(lambda *_: chain([first], tables), schema=first.schema), output)
    what = "the best item" if k == 1 else f"the {k:,} best items"
    say(f"{what} of {counted(len(model.users), 'user')} written to {output}")
    for note in lists.notes_of_all():
        say(note)


def _recommend_known(
    model: "Model", rated: "RunRatings | None", user: str, k: int, min_ratings: int
) -> tuple["pl.DataFrame", str | None]:
    """A user's list; and who that is, where items are known that they have rated."""
    from cofi_dist.model.recommend import require_row

    table = model.recommend(user, k, rated.items_of(user) if rated else (), min_ratings)
    if not model.user_counts[require_row(model.users, user, "user")]:
        say(f"user {user} has no training ratings: this is the average user's list")
    return table, f"user {user}" if rated else None


def _recommend_new(model: "Model", path: Path, k: int, min_ratings: int) -> "pl.DataFrame":
    from cofi_dist.data.readers.tables import names_column

    columns = model.facts.columns
    if not names_column(path, columns.user):  # which a new user's file need not: the items stand in for it
        columns = columns.model_copy(update={"user": columns.item})
    table = read_ratings(path, columns)
    count = table["user"].n_unique()
    if columns.user != columns.item and count > 1:
        raise DataError(f"{path}: holds ratings of {count:,} users; give those of one")
    try:
        folded = model.fold_in(table["item"], table["value"].to_numpy())
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if folded.unknown:
        of = f"{folded.unknown:,} of {counted(len(table), 'rating')}"
        say(f"{path}: {of} {'is' if folded.unknown == 1 else 'are'} of unknown items; not used")
    return model.recommend(folded, k, min_ratings=min_ratings)


def _rated(model: "Model", run: Path, prepared: Path | None) -> "RunRatings | None":
    """What the users have rated; without it, recommendations may be of that."""
    try:
        rated = model.rated(run, prepared)
    except CofiError as error:
        say(f"items that a user has rated are not left out: {error}")
        return None
    if rated.note:
        say(rated.note)
    return rated


def _refuse_output(output: Path, *, replace: bool) -> None:
    if output.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"--output {output}: write .csv or .parquet")
    refuse_existing(output, replace=replace)


def _write(table: "pl.LazyFrame", output: Path) -> None:
    with whole_file(output) as file:
        if output.suffix.lower() == ".csv":
            table.sink_csv(file)
        else:
            table.sink_parquet(file)
