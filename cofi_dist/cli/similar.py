"""Define the command `similar`, which lists items like one item."""

from typing import Annotated

import typer

from cofi_dist.cli.arguments import ListLength, MinRatings, Run, Titles
from cofi_dist.cli.input_files import read_titles, warn_if_untitled
from cofi_dist.cli.list_limits import ListLimits
from cofi_dist.cli.list_notes import ListNotes
from cofi_dist.cli.tables import print_table, warn_if_diverged
from cofi_dist.streams import log_stderr


def similar(
    run: Run,
    item: Annotated[str, typer.Option(metavar="ID", help="An item of the data.", show_default=False)],
    k: ListLength = 10,
    min_ratings: MinRatings = 1,
    titles: Titles = None,
) -> None:
    """List the items whose features are most like one item's."""
    from cofi_dist.model import Model
    from cofi_dist.model.arguments import find_row

    model = Model.load(run)
    warn_if_diverged(model)
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
