"""Define the commands `data list` and `data get`, which are about known data sets."""

import sys
from pathlib import Path
from typing import Annotated, Self

import typer

from cofi_dist.cli.arguments import StrictCommand, with_plain_paths
from cofi_dist.cli.completion import complete_data_set
from cofi_dist.cli.help import HelpfulGroup
from cofi_dist.data.datasets.catalog import DATASETS, PAGE, DataSet, find_data_set
from cofi_dist.files.paths import DATA_SETS
from cofi_dist.streams import Style, is_drawn_on, log_stderr, print_styled

ROOT = Path(DATA_SETS)

app = typer.Typer(
    cls=HelpfulGroup, no_args_is_help=True, rich_markup_mode=None, help="List or get known data sets."
)

Root = Annotated[Path, typer.Option(help="Folder of the data sets, data.root in a config.")]


@app.command("list", cls=StrictCommand)
@with_plain_paths
def list_(root: Root = ROOT) -> None:
    """Print the known data sets and their terms of use."""
    print_styled((f"{'name':<16}{'ratings':>12}{'download':>12}  on disk", Style.heading))
    for known in DATASETS.values():
        there = ("yes", Style.good) if known.ratings_in(root).is_file() else ("no", Style.plain)
        print_styled(
            (f"{known.name:<16}{known.num_ratings:>12,}{_megabytes(known):>12}  ", Style.plain), there
        )
    print("\nCollected by GroupLens; the README in each archive has the terms:")
    for note in dict.fromkeys(known.note for known in DATASETS.values()):
        names = (known.name for known in DATASETS.values() if known.note == note)
        print(f"{', '.join(names)}:\n  {note}")
    print(f"See {PAGE}")


@app.command(cls=StrictCommand)
@with_plain_paths
def get(
    name: Annotated[
        str,
        typer.Argument(
            help="As `data list` prints it.", show_default=False, autocompletion=complete_data_set
        ),
    ],
    root: Root = ROOT,
) -> None:
    """Download, verify and unpack a data set, unless it is there."""
    from cofi_dist.config.strict_yaml import to_yaml  # slow to import, and `list` needs none of it
    from cofi_dist.data.datasets.download import fetch

    known = find_data_set(name)
    with _DownloadProgress(known) as progress:
        ratings = fetch(known, root, progress)
    log_stderr(f"Terms of use: {known.note}.")
    if known.titles is not None:
        log_stderr(f"Titles, for --titles: {ratings.with_name(known.titles)}")
    print(ratings)
    keys = {"name": name} if root == ROOT else {"name": name, "root": str(root)}
    print(f"data: {to_yaml(keys, one_line=True)}")


def _megabytes(known: DataSet) -> str:
    return f"{known.archive_bytes / 1e6:,.1f} MB"


class _DownloadProgress:
    """Show a download on stderr: as a bar on a terminal, else as plain lines."""

    def __init__(self, known: DataSet) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

        self._bar = Progress(
            BarColumn(bar_width=30),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not is_drawn_on(sys.stderr),
        )
        self._known = known
        self._task = self._bar.add_task("", total=known.archive_bytes, visible=False)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._bar.disable:  # else rich before 14.3 prints an empty line
            self._bar.stop()

    def note(self, text: str) -> None:
        if self._bar.disable:
            log_stderr(text)
        else:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def received(self, done: int, total: int | None) -> None:
        expected = total or self._known.archive_bytes
        self._bar.update(self._task, completed=done, total=expected, visible=done < expected)
