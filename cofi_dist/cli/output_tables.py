"""Write results as .csv and .parquet files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.errors import ConfigError
from cofi_dist.files.atomic import atomic_file, refuse_existing
from cofi_dist.streams import log_stderr

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.config import ColumnNames

FORMATS = (".csv", ".parquet")
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite files.")]


def require_writable(output: Path, *, replace: bool, or_directory: bool = False) -> None:
    """Raise ConfigError if a table cannot be written there, or RunError if a file is in the way.

    Args:
        output: the file.
        replace: whether a file may be in the way.
        or_directory: whether a directory could be written too, whose name has no ending.
    """
    if output.suffix.lower() not in FORMATS:
        instead = ", or a directory, whose name has no ending" if or_directory else ""
        raise ConfigError(f"--output {output}: write .csv or .parquet{instead}")
    refuse_existing(output, replace=replace)


def id_column_names(columns: "ColumnNames", results: Sequence[str], *, aloud: bool = True) -> tuple[str, str]:
    """Return the names of the columns of ids in an output, beside the columns of results.

    If `aloud`, say so if they are not called as in the training data.
    """
    names = columns.user, columns.item
    if len({*names, *results}) == len(names) + len(results):
        return names
    if aloud:
        log_stderr("the columns of ids are named user and item, because their own names are not unique")
    return "user", "item"


def write_table(table: "pl.LazyFrame", output: Path) -> None:
    """Write a table, whole or not at all, in the format that the file's name asks for."""
    with atomic_file(output) as file:
        if output.suffix.lower() == ".csv":
            table.sink_csv(file)
        else:
            table.sink_parquet(file)
