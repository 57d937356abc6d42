"""Define the command `report`, which writes one page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import RunDirectory
from cofi_dist.cli.report_files import Replace, measure_by_popularity, target_file
from cofi_dist.files.atomic import write_atomically


def report(
    run: RunDirectory,
    output: Annotated[
        Path | None, typer.Option(help=".html file; if not set, RUN/report.html.", show_default=False)
    ] = None,
    replace: Replace = False,
) -> None:
    """Write one HTML page about a run, which needs no other file."""
    from cofi_dist.report.html import render_page
    from cofi_dist.report.panels import build_panels
    from cofi_dist.report.plot import require_matplotlib
    from cofi_dist.report.run_files import read_runs
    from cofi_dist.report.saved_evaluations import read_evaluations

    require_matplotlib()
    target = target_file(output, run, "report.html", replace=replace)
    (read,) = read_runs([run])
    found = measure_by_popularity(run)
    text = render_page(read, build_panels([read], [found]), found, read_evaluations(run))
    write_atomically(target, text)
    print(target)
