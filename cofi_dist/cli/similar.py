"""Define the command `similar`, which lists what is like an item or a user."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import ListLength, Run, Titles
from cofi_dist.cli.input_files import read_titles, warn_if_untitled
from cofi_dist.cli.list_limits import ListLimits
from cofi_dist.cli.list_notes import ListNotes
from cofi_dist.cli.tables import print_table, warn_if_diverged
from cofi_dist.errors import ConfigError
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model import Model


def similar(
    run: Run,
    item: Annotated[
        str | None, typer.Option(metavar="ID", help="An item of the data.", show_default=False)
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="ID", help="Or a user of the data.", show_default=False)
    ] = None,
    k: ListLength = 10,
    min_ratings: Annotated[
        int, typer.Option(metavar="N", help="Leave out what has fewer ratings.", min=0)
    ] = 1,
    titles: Titles = None,
) -> None:
    """List the items whose features are most like one item's.

    With --user, list the users whose weights are most like one user's.
    """
    from cofi_dist.model import Model

    if (item is None) == (user is None):
        raise ConfigError("give one of --item and --user")
    if user is not None and titles is not None:
        raise ConfigError("--titles are for items; leave them out")
    model = Model.load(run)
    warn_if_diverged(model)
    if item is not None:
        _print_items(model, item, k, min_ratings, titles)
    else:
        assert user is not None
        _print_users(model, user, k, min_ratings)


def _print_items(model: "Model", item: str, k: int, min_ratings: int, titles: Path | None) -> None:
    from cofi_dist.model.arguments import find_row

    column = model.facts.columns.item
    title_of = read_titles(titles, column)
    table = model.similar_items(item, k, min_ratings)
    limits = ListLimits(max(min_ratings, 1))
    row = find_row(model.items, item, "item")
    notes = ListNotes(model, k, limits, beside=row, leaves_out_rated=False)
    notes.add(table)
    rows = [
        (str(place), f"{cosine:.3f}", str(other), title_of.get(str(other), ""))
        for place, other, cosine in table.iter_rows()
    ]
    print_table(("rank", "cosine", column, "title" if title_of else ""), rows)
    warn_if_untitled(titles, title_of, table["item"])
    for note in notes.for_one_list():
        log_stderr(note)


def _print_users(model: "Model", user: str, k: int, min_ratings: int) -> None:
    table = model.similar_users(user, k, min_ratings)
    rows = [(str(place), f"{cosine:.3f}", str(other)) for place, other, cosine in table.iter_rows()]
    print_table(("rank", "cosine", model.facts.columns.user), rows)
    if len(rows) < k:
        least = counted(max(min_ratings, 1), f"training {model.facts.noun}")
        log_stderr(f"{len(rows):,} of {k:,}: the model has no more other users with {least} or more")
