"""Commands that make a model: train, prepare, config."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.session import Session
from cofi_dist.cli.tables import inline_yaml
from cofi_dist.config import SOURCES, load_config, resolve
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.files import clear_temporaries
from cofi_dist.streams import say
from cofi_dist.words import counted

if TYPE_CHECKING:
    from cofi_dist.distributed import Comm

# torch takes seconds to import, so a command that needs it imports what it calls itself.

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Sets a key of the config, each once: train.epochs=300, 'data.test={by: last, n: 1}',"
        " data.ratings=~/r.csv. VALUE is YAML, or text as it stands where the key holds text; null unsets a"
        " key. The README lists all keys.",
        show_default=False,
    ),
]

Only = Annotated[
    int | None,
    typer.Option(metavar="N", help="Train point N alone, counted from 0, as a job array does.", min=0),
]


def train(
    context: typer.Context,
    config: Annotated[Path, typer.Option(help="YAML file.", show_default=False)],
    overrides: Overrides = None,
    replace: Annotated[bool, typer.Option("--replace", help="Lose the run that run_dir holds.")] = False,
) -> None:
    """Train a model; under torchrun, on all its ranks."""
    from cofi_dist.run.train import train as train_run

    session: Session = context.obj
    session.stop.resumable = True
    comm = session.meet(context, lambda: load_config(config, overrides or []).model_dump(exclude_none=True))
    _hear_of_compiling(comm)
    run_dir = train_run(config, overrides or [], comm, replace=replace, stop=session.stop)
    if comm.rank == 0:
        run, output = (shlex.quote(str(path)) for path in (run_dir, run_dir / "export"))
        say(f"\nThe model is in {run_dir}/model.\nNext, its factors as the notebook saves them:")
        say(f"  cofi-dist export {run} --format pt --output {output}")
    comm.close()


def _hear_of_compiling(comm: "Comm") -> None:
    """Say so where seconds go by before the first epoch: once after installing."""
    from cofi_dist.kernels.first_compilation import FirstCompiled

    if comm.rank == 0:
        FirstCompiled.hear(lambda: say("compiling the loops for this processor: some seconds, once"))


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
        typer.Option(help="Directory of the runs; runs/NAME-tune unless set.", show_default=False),
    ] = None,
    only: Only = None,
    table: Annotated[bool, typer.Option("--table", help="Train nothing; show what is done.")] = False,
) -> None:
    """Train every combination of a grid, and compare them."""
    import polars as pl

    from cofi_dist.cli.tables import show
    from cofi_dist.run.tune import Point, first_config, points, save_table, table_of
    from cofi_dist.run.tune import tune as tune_grid

    session: Session = context.obj
    folder = output or Path("runs") / f"{config.stem}-tune"
    comm = session.meet(context, lambda: first_config(config, grid, overrides or [], folder))
    given = comm.on_first(lambda: [point.words for point in points(config, grid, overrides or [], folder)])
    found = [Point.of_words(words) for words in given]
    if only is not None and only >= len(found):
        raise ConfigError(f"--only {only}: the grid has {counted(len(found), 'point')}, from 0", shared=True)
    if table and only is not None:
        raise ConfigError("--table and --only: give one of them", shared=True)
    if not table:
        session.stop.resumable = True
        _hear_of_compiling(comm)
        tune_grid(config, found, overrides or [], comm, only=only, stop=session.stop)
    if comm.rank == 0 and only is None:
        results = table_of(found)
        file = save_table(results, folder)
        shown = results.with_columns(pl.col("rmse", "mae").round(5), pl.col("run").str.split("/").list.last())
        rows = [["-" if cell is None else str(cell) for cell in row] for row in shown.iter_rows()]
        show(shown.columns, rows)
        of = counted(len(found), "point")
        say(f"{len(rows)} of {of} {'is' if len(rows) == 1 else 'are'} done; the table is in {file}")
    comm.close()


def prepare(
    ratings: Annotated[Path, typer.Argument(help="Ratings file.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Directory to make.", show_default=False)],
    overrides: Overrides = None,
) -> None:
    """Read a ratings file once, for any number of runs to train on."""
    from cofi_dist.data.preparation.store import StoredRatings
    from cofi_dist.data.readers.tables import notes_on_layout
    from cofi_dist.data.sources.open import prepare as prepare_source

    given = {"data": {"ratings": str(ratings)}, "run_dir": str(output)}
    for text in overrides or []:
        if not text.startswith("data."):
            raise ConfigError(f"{text!r}: prepare takes keys of data only, such as data.duplicates=last")
        if text.partition("=")[0].removeprefix("data.").partition(".")[0] in SOURCES:
            raise ConfigError(f"{text!r}: prepare reads {ratings}; leave one of them out")
    resolved = resolve(given, "prepare", overrides or [])
    said = notes_on_layout(ratings, resolved.data.columns)  # at once: to read on may take minutes
    for note in said:
        say(f"{ratings}: {note}")
    clear_temporaries(output)  # of one that was killed
    if output.exists():
        raise RunError(f"{output}: already exists; remove it or name another")
    with prepare_source(resolved.data, output) as prepared:
        prepared.keep(output)
    for note in StoredRatings(output).notes:
        if note not in said:
            print(note)
    print(f"prepared in {output}; to train on it, set data: {inline_yaml({'prepared': str(output)})}")


def config(
    file: Annotated[Path, typer.Argument(help="YAML file.", show_default=False)], overrides: Overrides = None
) -> None:
    """Print the resolved config, or what is wrong with it."""
    print(load_config(file, overrides or []).to_yaml(), end="")
