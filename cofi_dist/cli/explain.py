"""Define the command `explain`, which says which of a user's ratings give an item its score."""

from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import Prepared, Run, Titles
from cofi_dist.cli.input_files import read_titles, warn_if_untitled
from cofi_dist.cli.list_notes import has_rated
from cofi_dist.cli.tables import print_table, warn_if_diverged
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.model import Explanation, Model


def explain(
    run: Run,
    user: Annotated[str, typer.Option(metavar="ID", help="A user of the data.", show_default=False)],
    item: Annotated[
        str,
        typer.Option(metavar="ID", help="An item, such as a recommended one.", show_default=False),
    ],
    k: Annotated[
        int, typer.Option("-k", metavar="N", help="How many ratings or events to list.", min=1)
    ] = 10,
    prepared: Prepared = None,
    titles: Titles = None,
) -> None:
    """Say which of a user's ratings give an item its score.

    The contributions add up to the score that the item gets if the user's weights are solved for anew, with
    the items fixed, from the ratings that were trained on.
    """
    from cofi_dist.model import Model

    model = Model.load(run)
    warn_if_diverged(model)
    title_of = read_titles(titles, model.facts.columns.item)
    rated = model.rated(run, prepared)
    if rated.note:
        log_stderr(rated.note)
    found = model.explain(user, item, rated)
    _print_explanation(model, found, item, k, title_of)
    warn_if_untitled(titles, title_of, found.ratings["item"].head(k))
    if item in found.ratings["item"].cast(str).to_list():
        log_stderr(f"user {user} {has_rated(model)} item {item}, so it contributes to its own score")


def _print_explanation(
    model: "Model", found: "Explanation", item: str, k: int, title_of: dict[str, str]
) -> None:
    noun = model.facts.noun
    rows = [
        (f"{contribution:+.3f}", f"{value:g}", str(other), title_of.get(str(other), ""))
        for other, value, contribution in found.ratings.head(k).iter_rows()
    ]
    rest = found.ratings["contribution"].slice(k)
    sums = [(float(rest.sum()), counted(len(rest), f"more {noun}"))] if len(rest) else []
    if found.unrated:
        sums.append((found.unrated, f"all items without {noun}s of the user"))
    if found.offset:
        sums.append((found.offset, _describe_offset(model, item)))
    rows += [(f"{amount:+.3f}", "", "", what) for amount, what in sums]
    title = f", {title_of[item]}" if item in title_of else ""
    scores = ((found.score, f"sum: the score of {item}{title}"), (found.trained_score, "its trained score"))
    rows += [(f"{score:.3f}", "", "", what) for score, what in scores]
    value = "strength" if model.facts.is_implicit else "rating"
    print_table(("contribution", value, model.facts.columns.item, "title" if title_of else ""), rows)


def _describe_offset(model: "Model", item: str) -> str:
    """Say in words what an item scores for everybody."""
    from cofi_dist.model.arguments import find_row
    from cofi_dist.model.scoring import describe_fallbacks
    from cofi_dist.ranking.scores import has_means

    known, unknown = describe_fallbacks(
        means=has_means(model.arrays.item_means), item_biases=model.arrays.c is not None, user_biases=False
    )
    return known if model.arrays.item_counts[find_row(model.items, item, "item")] else unknown
