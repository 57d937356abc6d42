"""Define the command `plot`, which draws runs."""

from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.completion import complete_run
from cofi_dist.cli.report_files import Replace, measure_by_popularity, target_file
from cofi_dist.errors import RunError
from cofi_dist.files.atomic import write_atomically


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Run directories.", show_default=False, autocompletion=complete_run
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help=".png file; if not set, RUN/plot.png, or plot.png for several runs.", show_default=False
        ),
    ] = None,
    replace: Replace = False,
) -> None:
    """Draw one run or several into one picture."""
    from cofi_dist.report.panels import build_panels
    from cofi_dist.report.plot import draw_panels, require_matplotlib
    from cofi_dist.report.run_files import read_runs

    require_matplotlib()
    target = target_file(output, runs[0] if len(runs) == 1 else None, "plot.png", replace=replace)
    read = read_runs(runs)
    pictures = build_panels(read, [measure_by_popularity(run) for run in runs])
    if not pictures:
        raise RunError(f"{runs[0]}: has nothing to draw: no cost in it is a positive number")
    write_atomically(target, draw_panels(pictures, [run.name for run in read]))
    print(target)
