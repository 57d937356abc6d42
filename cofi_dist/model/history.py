"""Make a table of the printed epochs of a training, from what a run measured or from its file of metrics."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from cofi_dist.errors import RunError
from cofi_dist.files.reading import parse_json, read_failure, read_lines, shortened
from cofi_dist.run_layout import METRICS, MODEL

COLUMNS = ("epoch", "cost", "seconds", "ratings_per_second")
VALIDATION = "validation_"  # begins the names of the figures on held-out ratings
WHOLE_NUMBERS = ("epoch", "validation_k", "validation_users")


def history_table(epochs: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return a row for each epoch, ascending; of an epoch that was trained again, the later one.

    Args:
        epochs: what metrics.jsonl says of each printed epoch, in the order in which they were printed.

    Returns:
        Columns `epoch`, `cost`, `seconds` and `ratings_per_second`, and those of the figures on the
        validation ratings, whose names begin with `validation_`; null in epochs that were not validated.
    """
    rows = {row["epoch"]: row for row in epochs}
    in_order = [rows[epoch] for epoch in sorted(rows)]
    figures = dict.fromkeys(name for row in in_order for name in row if name.startswith(VALIDATION))
    names = (*COLUMNS, *figures)
    types = {name: pl.Int64 if name in WHOLE_NUMBERS else pl.Float64 for name in names}
    return pl.DataFrame({name: [row.get(name) for row in in_order] for name in names}, types)


def read_history(directory: Path | None) -> pl.DataFrame:
    """Read the epochs of the run that a model was loaded from; none if the run has no such file.

    Args:
        directory: of the run, or of the model in it; None for no run.

    Raises:
        RunError: the file is damaged.
    """
    if directory is None:
        return history_table([])
    file = (directory if (directory / MODEL).is_dir() else directory.parent) / METRICS
    rows = []
    try:
        for number, line in enumerate(read_lines(file), 1):
            try:
                entry = parse_json(line)
                if not isinstance(entry, dict) or "checkpoint" not in entry:  # which is about no epoch
                    rows.append(_checked(entry))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    except FileNotFoundError:
        return history_table([])
    except (OSError, ValueError) as error:
        raise RunError(f"{file}: {read_failure(error)}; it is damaged: mend or remove that line") from None
    return history_table(rows)


def _checked(entry: Any) -> dict[str, float]:
    """Return what a line says of an epoch.

    Raises:
        ValueError: it says nothing of one.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"must hold an object, not {shortened(entry)}")
    row = {}
    for name in (*COLUMNS, *(name for name in entry if name.startswith(VALIDATION))):
        value = entry.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number, not {shortened(value)}")
        if name in WHOLE_NUMBERS and not 1 <= value < 2**53:
            raise ValueError(f"{name} must be a whole number, 1 or more, not {shortened(value)}")
        row[name] = int(value) if name in WHOLE_NUMBERS else float(value)
    return row
