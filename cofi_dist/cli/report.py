"""Define the command `report`, which writes one page about a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import ListLength, RunDirectory, Titles
from cofi_dist.cli.input_files import read_titles
from cofi_dist.cli.progress import Progress
from cofi_dist.cli.report_files import Replace, measure_by_popularity, target_file
from cofi_dist.errors import CofiError
from cofi_dist.files.atomic import write_atomically

if TYPE_CHECKING:
    from cofi_dist.model import Model
    from cofi_dist.report.judged_model import JudgedModel


def report(
    run: RunDirectory,
    output: Annotated[
        Path | None, typer.Option(help=".html file; if not set, RUN/report.html.", show_default=False)
    ] = None,
    titles: Titles = None,
    k: ListLength = 10,
    replace: Replace = False,
) -> None:
    """Write one HTML page about a run, which needs no other file.

    It has the lists of some users, with titles if there are any, here or beside a data set of data.name.
    """
    from cofi_dist.report.html import render_page
    from cofi_dist.report.panels import build_panels
    from cofi_dist.report.plot import require_matplotlib
    from cofi_dist.report.run_files import read_runs
    from cofi_dist.report.saved_evaluations import read_evaluations

    require_matplotlib()
    target = target_file(output, run, "report.html", replace=replace)
    (read,) = read_runs([run])
    found = measure_by_popularity(run)
    judged = _judge(run, titles, k)
    text = render_page(read, build_panels([read], [found]), found, read_evaluations(run), judged)
    write_atomically(target, text)
    print(target)


def _judge(run: Path, titles: Path | None, k: int) -> "JudgedModel | None":
    """Return what is measured of the model; None if it or its ratings are gone, which has been said then."""
    from cofi_dist.model import Model
    from cofi_dist.report.judged_model import judge_model

    try:
        model = Model.load(run)
        rated = model.rated(run)
    except CofiError:
        return None
    named = read_titles(titles or _titles_of_data_set(model), model.facts.columns.item)
    with Progress("evaluating", "users") as progress:
        return judge_model(model, rated, named, k, progress.add)


def _titles_of_data_set(model: "Model") -> Path | None:
    """Return the file of titles that lies beside the ratings of a known data set."""
    from cofi_dist.data.datasets.catalog import DATASETS

    data = model.config.data
    known = DATASETS.get(data.name or "")
    if known is None or known.titles is None:
        return None
    file = known.ratings_in(data.root).with_name(known.titles)
    return file if file.is_file() else None
