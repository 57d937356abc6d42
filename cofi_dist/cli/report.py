"""Commands that show runs: plot, report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.progress import Progress
from cofi_dist.errors import CofiError, ConfigError, RunError
from cofi_dist.files import refuse_existing, write_whole
from cofi_dist.files.reading import open_regular
from cofi_dist.streams import say

# torch takes seconds to import, so a command that needs it imports what it calls itself.

if TYPE_CHECKING:
    from cofi_dist.report.popularity import ByPopularity

PLOT, REPORT = "plot.png", "report.html"
MARK = b"cofi-dist"  # near the start of either, as the program that wrote it

Replace = Annotated[bool, typer.Option("--replace", help="Overwrite the file.")]


def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run directories.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            help=".png file; RUN/plot.png unless set, plot.png of several runs.", show_default=False
        ),
    ] = None,
    replace: Replace = False,
) -> None:
    """Draw one run or several into one picture."""
    from cofi_dist.report.panels import panels
    from cofi_dist.report.plot import draw_all, require_matplotlib
    from cofi_dist.report.run_files import read_runs

    require_matplotlib()
    target = _target(output, runs[0] if len(runs) == 1 else None, PLOT, replace=replace)
    read = read_runs(runs)
    pictures = panels(read, [_error(run) for run in runs])
    if not pictures:
        raise RunError(f"{runs[0]}: has nothing to draw: no cost in it is a positive number")
    write_whole(target, draw_all(pictures, [run.name for run in read]))
    print(target)


def report(
    run: Annotated[Path, typer.Argument(help="Run directory.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help=".html file; RUN/report.html unless set.", show_default=False)
    ] = None,
    replace: Replace = False,
) -> None:
    """Write one HTML page about a run, which needs no other file."""
    from cofi_dist.report.html import render_page
    from cofi_dist.report.panels import panels
    from cofi_dist.report.plot import require_matplotlib
    from cofi_dist.report.run_files import read_runs
    from cofi_dist.report.saved_evaluations import evaluations

    require_matplotlib()
    target = _target(output, run, REPORT, replace=replace)
    (read,) = read_runs([run])
    error = _error(run)
    text = render_page(read, panels([read], [error]), error, evaluations(run))
    write_whole(target, text)
    print(target)


def _target(output: Path | None, run: Path | None, name: str, *, replace: bool) -> Path:
    """Where to write; only what an earlier call left in the run directory is overwritten unasked."""
    kind = Path(name).suffix
    if output is not None and output.suffix != kind:
        raise ConfigError(f"--output {output}: write {kind}")
    target = output or (run or Path()) / name
    if target.is_dir():
        raise RunError(f"{target}: is a directory; give another --output")
    redrawn = output is None and run is not None and _is_ours(target)
    refuse_existing(target, replace=replace or redrawn)
    return target


def _is_ours(file: Path) -> bool:
    try:
        with open_regular(file) as opened:
            return MARK in opened.read(1024)
    except OSError:
        return False


def _error(run: Path) -> "ByPopularity | None":
    """By popularity of the item, where the model and its ratings are still at hand."""
    from cofi_dist.report.popularity import error_by_popularity

    with Progress("judging", "users") as progress:
        try:
            return error_by_popularity(run, progress.add)
        except CofiError as error:
            say(f"error by popularity of the item is left out: {error}")
            return None
