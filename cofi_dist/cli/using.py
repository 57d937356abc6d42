"""Commands that use a trained model: predict, recommend, similar, export."""

import sys
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.show import read_titles, show, warn_of
from cofi_dist.errors import CofiError, ConfigError, DataError
from cofi_dist.files import refuse_existing, whole_file

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.model import Model, Rated

Run = Annotated[Path, typer.Argument(help="Run directory, or that of a model.", show_default=False)]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite files.")]
Titles = Annotated[
    Path | None, typer.Option(help="movies.csv, or .dat, or u.item: items and titles.", show_default=False)
]
Count = Annotated[int, typer.Option("-k", help="How many.", min=1)]


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
    form: Annotated[Form, typer.Option("--format", help="What to write.")] = Form.pt,
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
    pairs: Annotated[Path, typer.Option(help="File of user and item ids.", show_default=False)],
    output: Annotated[Path, typer.Option(help=".csv or .parquet, to be written.", show_default=False)],
    replace: Replace = False,
) -> None:
    """Predict the rating of each pair of a file."""
    import polars as pl

    from cofi_dist.data.ratings import read_table
    from cofi_dist.model import Model

    _refuse_output(output, replace=replace)
    model = Model.load(run)
    warn_of(model)
    columns = model.facts.columns
    table = read_table(pairs, columns, rating=False)
    for name, known, instead in zip(
        ("user", "item"), (model.users, model.items), model.fallbacks, strict=True
    ):
        unknown = table[name].filter(pl.Series(known.find(table[name]) < 0))
        if len(unknown):
            count = f"{len(unknown):,} of {len(table):,} pairs"
            _note(f"{count} have one of {unknown.n_unique():,} unknown {name}s: predicted {instead}")
    prediction = model.predict(table["user"], table["item"])
    ids = table.select(pl.col("user").alias(columns.user), pl.col("item").alias(columns.item))
    _write(ids.with_columns(prediction=prediction).lazy(), output)
    _note(f"{len(table):,} predictions are in {output}")


def recommend(
    run: Run,
    user: Annotated[str | None, typer.Option(help="Id of a user.", show_default=False)] = None,
    ratings: Annotated[
        Path | None, typer.Option(help="Ratings file of one new user.", show_default=False)
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every user, to --output.")] = False,
    k: Count = 10,
    titles: Titles = None,
    output: Annotated[
        Path | None, typer.Option(help=".csv or .parquet, with --all.", show_default=False)
    ] = None,
    replace: Replace = False,
) -> None:
    """The unrated items that a user, old or new, would rate highest."""
    from cofi_dist.model import Model

    if (user is not None) + (ratings is not None) + everyone != 1:
        raise ConfigError("say for whom: one of --user ID, --ratings FILE and --all")
    if everyone != (output is not None):
        raise ConfigError("--all and --output FILE go together")
    if replace and output is None:
        raise ConfigError("--replace is for --output FILE; leave it out")
    if everyone and titles is not None:
        raise ConfigError("--titles are for one user's list on the screen; leave them or --all out")
    if output is not None:
        _refuse_output(output, replace=replace)
    model = Model.load(run)
    warn_of(model)
    columns = model.facts.columns
    if output is not None:
        _recommend_all(model, _rated(model, run), k, output)
        return
    title_of = read_titles(titles, columns.item)
    if user is not None:
        rated = _rated(model, run)
        table = model.recommend(user, k, rated.items_of(user) if rated else ())
    else:
        assert ratings is not None
        table = _recommend_new(model, ratings, k)
    rows = [
        (str(rank), f"{prediction:.2f}", str(item), title_of.get(str(item), ""))
        for rank, item, prediction in table.select("rank", "item", "prediction").iter_rows()
    ]
    show(("rank", "predicted", columns.item, "title" if title_of else ""), rows)


def similar(
    run: Run,
    item: Annotated[str, typer.Option(help="Id of an item.", show_default=False)],
    k: Count = 10,
    min_ratings: Annotated[int, typer.Option(help="Of items with so many training ratings.", min=1)] = 1,
    titles: Titles = None,
) -> None:
    """The items whose features are most like one item's."""
    from cofi_dist.model import Model

    model = Model.load(run)
    warn_of(model)
    column = model.facts.columns.item
    title_of = read_titles(titles, column)
    rows = [
        (str(rank), f"{cosine:.3f}", str(other), title_of.get(str(other), ""))
        for rank, other, cosine in model.similar_items(item, k, min_ratings).iter_rows()
    ]
    show(("rank", "cosine", column, "title" if title_of else ""), rows)


def _recommend_all(model: "Model", rated: "Rated | None", k: int, output: Path) -> None:
    from polars.io.plugins import register_io_source

    columns = model.facts.columns
    tables = (
        table.select("user", "rank", "item", "prediction", "score").rename(
            {"user": columns.user, "item": columns.item}
        )
        for table in model.recommend_all(k, rated)
    )
    first = next(tables)
    _write(register_io_source(lambda *_: chain([first], tables), schema=first.schema), output)
    _note(f"the {k} best items of {len(model.users):,} users are in {output}")


def _recommend_new(model: "Model", path: Path, k: int) -> "pl.DataFrame":
    from cofi_dist.data.ratings import names_column, read_table

    columns = model.facts.columns
    if not names_column(path, columns.user):  # which a new user's file need not: the items stand in for it
        columns = columns.model_copy(update={"user": columns.item})
    table = read_table(path, columns)
    count = table["user"].n_unique()
    if columns.user != columns.item and count > 1:
        raise DataError(f"{path}: holds ratings of {count:,} users; give those of one")
    try:
        folded = model.fold_in(table["item"], table["value"].to_numpy())
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if folded.unknown:
        _note(f"{path}: {folded.unknown:,} of {len(table):,} ratings are of unknown items; not used")
    return model.recommend(folded, k)


def _rated(model: "Model", run: Path) -> "Rated | None":
    """What the users have rated; without it, recommendations may be of that."""
    try:
        return model.rated(run)
    except CofiError as error:
        _note(f"items that a user has rated are not left out: {error}")
        return None


def _refuse_output(output: Path, *, replace: bool) -> None:
    if output.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--output {output}: write .csv or .parquet")
    refuse_existing(output, replace=replace)


def _write(table: "pl.LazyFrame", output: Path) -> None:
    with whole_file(output) as file:
        if output.suffix == ".csv":
            table.sink_csv(file)
        else:
            table.sink_parquet(file)


def _note(text: str) -> None:
    print(text, file=sys.stderr)
