"""Define the command `tune`, which trains a grid of settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import Overrides
from cofi_dist.cli.progress import announce_compilation
from cofi_dist.cli.session import Session
from cofi_dist.errors import ConfigError
from cofi_dist.run.stop import Phase
from cofi_dist.streams import log_stderr
from cofi_dist.system.torch_import import import_torch
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.run.tune import Point

Only = Annotated[
    int | None,
    typer.Option(metavar="N", help="Train point N alone, counted from 0, as a job array does.", min=0),
]


def tune(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="YAML file.", show_default=False)],
    grid: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=V1,V2,...",
            help="Values of a key to try, a YAML list: train.lambda_=1,3,10; once for each key.",
            show_default=False,
        ),
    ],
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Directory of the runs; if not set, runs/NAME-tune.", show_default=False),
    ] = None,
    only: Only = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing; show what is done.")] = False,
) -> None:
    """Train every combination of a grid, and compare them."""
    import_torch()
    from cofi_dist.run.tune import Point, first_config, points
    from cofi_dist.run.tune import tune as tune_grid

    session: Session = context.obj
    folder = output or Path("runs") / f"{config.stem}-tune"
    comm = session.meet(context, lambda: first_config(config, grid, overrides or [], folder))
    given = comm.from_rank_zero(
        lambda: [point.words for point in points(config, grid, overrides or [], folder)]
    )
    found = [Point.of_words(words) for words in given]
    if only is not None and only >= len(found):
        raise ConfigError(
            f"--only {only}: the grid has {counted(len(found), 'point')}, counted from 0", shared=True
        )
    if table and only is not None:
        raise ConfigError("--table and --only: give one of them", shared=True)
    if not table:
        with session.stop.phase(Phase.STARTING):
            announce_compilation(comm)
            tune_grid(config, found, overrides or [], comm, only=only, stop=session.stop)
    if comm.rank == 0 and only is None:
        _print_results(found, folder)
    comm.close()


def _print_results(grid: list["Point"], folder: Path) -> None:
    """Save the table of the points that are done, and print it."""
    import polars as pl

    from cofi_dist.cli.tables import print_table
    from cofi_dist.run.tune import save_table, table_of

    results = table_of(grid)
    file = save_table(results, folder)
    shown = results.with_columns(
        pl.col(*grid[0].criterion.names).round(5), pl.col("run").str.split("/").list.last()
    )
    rows = [["-" if cell is None else str(cell) for cell in row] for row in shown.iter_rows()]
    print_table(shown.columns, rows)
    done = f"{len(rows)} of {counted(len(grid), 'point')} {'is' if len(rows) == 1 else 'are'} done"
    log_stderr(f"{done}; the table is in {file}")
