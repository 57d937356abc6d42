"""Define the command `tune`, which finds settings: by a grid of them, or by a search."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import Overrides
from cofi_dist.cli.completion import complete_key
from cofi_dist.cli.progress import announce_compilation
from cofi_dist.cli.session import Session
from cofi_dist.cli.tables import print_table
from cofi_dist.errors import ConfigError
from cofi_dist.run.stop import Phase
from cofi_dist.streams import Style, log_stderr
from cofi_dist.system.torch_import import import_torch
from cofi_dist.words import counted

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.tuning.search import Search
    from cofi_dist.tuning.trials import Findings

Grid = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=V1,V2,...",
        help="Train all combinations of values, a YAML list: train.lambda_=1,3,10; once for each key.",
        show_default=False,
        autocompletion=complete_key,
    ),
]
Space = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=WORD",
        help="Search with Optuna: train.lambda_=log:0.1:100, or uniform:, int: or log-int:, or a list as of"
        " --grid; once for each key.",
        show_default=False,
        autocompletion=complete_key,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(metavar="N", help="Trials of a search, of all its workers together.", min=1, max=100_000),
]
Only = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Train point N of the grid alone, counted from 0, as a job array does.", min=0
    ),
]


def tune(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="YAML file.", show_default=False)],
    grid: Grid = None,
    space: Space = None,
    trials: Trials = None,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Directory of the runs; if not set, runs/NAME-tune.", show_default=False),
    ] = None,
    only: Only = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing; show what is done.")] = False,
) -> None:
    """Find settings: train a grid of them, or search."""
    import_torch()
    _require_one_way(grid, space, trials, only, is_table=table)
    folder = output or Path("runs") / f"{config.stem}-tune"
    if table and not folder.is_dir():
        raise ConfigError(f"{folder}: no such directory; nothing has been trained there", shared=True)
    if space:
        _search(context, config, space, overrides or [], folder, trials, is_table=table)
    else:
        _train_grid(context, config, grid or [], overrides or [], folder, only, is_table=table)


def _require_one_way(
    grid: list[str] | None, space: list[str] | None, trials: int | None, only: int | None, *, is_table: bool
) -> None:
    """Raise ConfigError unless the options are those of one grid or of one search."""
    if bool(grid) == bool(space):
        raise ConfigError("--grid and --space: give one of them", shared=True)
    if space and only is not None:
        raise ConfigError("--only: belongs to --grid; a worker of a search takes what is left", shared=True)
    if grid and trials is not None:
        raise ConfigError(
            "--trials: belongs to --space; leave it out, as a grid trains all of its points", shared=True
        )
    if space and trials is None and not is_table:
        raise ConfigError("--trials: is missing; say how many trials the search has", shared=True)
    if is_table and only is not None:
        raise ConfigError("--table and --only: give one of them", shared=True)


def _train_grid(
    context: typer.Context,
    config: Path,
    grid: list[str],
    overrides: list[str],
    folder: Path,
    only: int | None,
    *,
    is_table: bool,
) -> None:
    import polars as pl

    from cofi_dist.tuning.compared import save_table
    from cofi_dist.tuning.grid import Point, first_config, points, table_of
    from cofi_dist.tuning.grid import tune as tune_grid

    session: Session = context.obj
    comm = session.meet(context, lambda: first_config(config, grid, overrides, folder))
    given = comm.from_rank_zero(lambda: [point.words for point in points(config, grid, overrides, folder)])
    found = [Point.of_words(words) for words in given]
    if only is not None and only >= len(found):
        raise ConfigError(
            f"--only {only}: the grid has {counted(len(found), 'point')}, counted from 0", shared=True
        )
    if not is_table:
        with session.stop.phase(Phase.STARTING):
            announce_compilation(comm)
            tune_grid(config, found, overrides, comm, only=only, stop=session.stop)
    if comm.rank == 0 and only is None:
        table = table_of(found)
        _print_results(table.with_columns(pl.col("run").str.split("/").list.last()), found[0].criterion.names)
        file = save_table(table, folder)
        done = f"{len(table)} of {counted(len(found), 'point')} {'is' if len(table) == 1 else 'are'} done"
        log_stderr(f"{done}; the table is in {file}")
    comm.close()


def _search(
    context: typer.Context,
    config: Path,
    space: list[str],
    overrides: list[str],
    folder: Path,
    trials: int | None,
    *,
    is_table: bool,
) -> None:
    from cofi_dist.run.screen import StreamScreen
    from cofi_dist.tuning.journal import require_optuna
    from cofi_dist.tuning.search import Worker, file_search
    from cofi_dist.tuning.trials import findings

    session: Session = context.obj
    comm = session.meet(
        context, lambda: file_search(config, space, overrides, folder).config.model_dump(exclude_none=True)
    )
    comm.from_rank_zero(require_optuna)
    search = file_search(config, space, overrides, folder)
    if trials is not None and not is_table:
        with session.stop.phase(Phase.STARTING):
            announce_compilation(comm)
            worker = Worker(
                search=search,
                trials=trials,
                comm=comm,
                stop=session.stop,
                screen=StreamScreen(quiet=True),
                say=log_stderr,
                file=config,
            )
            worker.work()
    found = findings(search, comm)
    if comm.rank == 0:
        _print_findings(search, found)
    comm.close()


def _print_findings(search: "Search", found: "Findings") -> None:
    """Print the table of the trials, and save it; say which is the best, and what mattered."""
    from cofi_dist.tuning.compared import save_table
    from cofi_dist.tuning.trials import STATES

    criterion = search.criterion
    best = found.best(search)
    _print_results(found.table.drop("run"), criterion.names, best=best is not None)
    file = save_table(found.table, search.output)
    if best is not None:
        settings = ", ".join(f"{key}={_short(value)}" for key, value in best.settings.items())
        log_stderr(f"best: {criterion.title()} {best.figure:.5f} with {settings}, in {best.run_dir}")
    if found.importances:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in found.importances.items())
        log_stderr(f"what the figure depends on: {shares}")
    states = found.table["state"].to_list()
    counts = ", ".join(f"{states.count(state)} {state}" for state in STATES if state in states)
    log_stderr(f"{counted(len(states), 'trial')}{': ' * bool(counts)}{counts}; the table is in {file}")


def _print_results(table: "pl.DataFrame", figures: Sequence[str], *, best: bool = True) -> None:
    """Print a table of runs, with five places of their figures, one of seconds, and four digits of the rest.

    Args:
        table: of the runs.
        figures: the names of their figures.
        best: whether the first run is the best one.
    """
    places = {**dict.fromkeys(figures, ".5f"), "seconds": ".1f"}
    rows = [
        [
            f"{cell:{places[name]}}" if name in places and cell is not None else _short(cell)
            for name, cell in zip(table.columns, row, strict=True)
        ]
        for row in table.iter_rows()
    ]
    print_table(table.columns, rows, [Style.best] if rows and best else [])


def _short(cell: object) -> str:
    return "-" if cell is None else f"{cell:.4g}" if isinstance(cell, float) else str(cell)
