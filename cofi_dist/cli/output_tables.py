"""The .csv and .parquet files that commands write."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.errors import ConfigError
from cofi_dist.files.atomic import atomic_file, refuse_existing
from cofi_dist.streams import log_stderr

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.config import Columns

Replace = Annotated[bool, typer.Option("--replace", help="Overwrite files.")]


def refuse_output(output: Path, *, replace: bool) -> None:
    if output.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"--output {output}: write .csv or .parquet")
    refuse_existing(output, replace=replace)


def id_column_names(columns: "Columns", results: Sequence[str]) -> tuple[str, str]:
    """What to call the columns of ids in an output, beside those of the results."""
    names = columns.user, columns.item
    if len({*names, *results}) == len(names) + len(results):
        return names
    log_stderr(
        "the columns of ids are called user and item: a result, or the other one, has the name of theirs"
    )
    return "user", "item"


def write_table(table: "pl.LazyFrame", output: Path) -> None:
    with atomic_file(output) as file:
        if output.suffix.lower() == ".csv":
            table.sink_csv(file)
        else:
            table.sink_parquet(file)
