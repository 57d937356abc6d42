"""Make the table of a search's trials, and name the best one."""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from cofi_dist.config.strict_yaml import parse
from cofi_dist.distributed.comm import Comm
from cofi_dist.run_layout import is_run
from cofi_dist.run_result import Result, read_result
from cofi_dist.tuning.compared import require_same_ratings
from cofi_dist.tuning.journal import JOURNAL
from cofi_dist.tuning.search import Search
from cofi_dist.tuning.space import Axis, Range

STATES = ("done", "pruned", "diverged", "unfinished")


class Best(NamedTuple):
    """Hold the best trial of a search.

    Attributes:
        settings: the value of each varied key.
        figure: its figure on the validation ratings.
        run_dir: its run directory.
    """

    settings: dict[str, Any]
    figure: float
    run_dir: Path


class Findings(NamedTuple):
    """Hold what a search has found so far.

    Attributes:
        table: a row for each trial that has begun, that with the best figure first.
        importances: which part of the figure's differences each key explains; empty with few trials.
    """

    table: pl.DataFrame
    importances: dict[str, float]

    def best(self, search: Search) -> Best | None:
        """Return the best trial that is done; None if there is none."""
        metric = search.criterion.metric
        rows = self.table.filter(pl.col("state") == "done", pl.col(metric).is_not_null())
        if rows.is_empty():
            return None
        row = rows.row(0, named=True)
        return Best({axis.key: row[axis.key] for axis in search.space}, row[metric], Path(row["run"]))


def findings(search: Search, comm: Comm) -> Findings:
    """Return what the files of a search say; nothing is trained or written.

    Collective: all ranks call it, and rank 0 reads.

    The table's columns are trial, state (`done`, `pruned`, `diverged` or `unfinished`), the varied keys, the
    figures (rmse and mae, or that of the lists), epoch, seconds and run. Trials that are done come first.

    Raises:
        RunError: a file cannot be read, or trials were trained on different ratings.
    """
    rows, importances = comm.from_rank_zero(lambda: _read(search))
    table = pl.DataFrame(rows, schema=_schema(search), strict=False)
    is_falling = search.criterion.better == "higher"
    order = [pl.col("state").replace_strict(STATES, range(len(STATES)), return_dtype=pl.Int64), "trial"]
    order.insert(1, pl.col(search.criterion.metric) * (-1 if is_falling else 1))
    return Findings(table.sort(order, nulls_last=True), importances)


def _read(search: Search) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the rows of the table, unsorted, and the importances."""
    if not (search.output / JOURNAL).exists():
        return [], {}
    journal, rows = search.open_journal(), []
    for trial in journal.trials():
        run_dir = search.run_dir(trial.number)
        result = read_result(run_dir)
        if result is None and not is_run(run_dir):
            continue  # nothing was trained yet
        settings = {axis.key: _value(axis, trial.params.get(axis.key)) for axis in search.space}
        figures = {name: result and result.validation(name) for name in search.criterion.names}
        rows.append(
            {
                "trial": trial.number,
                "state": _state(result),
                **settings,
                **figures,
                "epoch": result and result.epoch,
                "seconds": result and round(result.seconds, 1),
                "run": str(run_dir),
            }
        )
    require_same_ratings([search.run_dir(row["trial"]) for row in rows])
    return rows, journal.importances()


def _state(result: Result | None) -> str:
    if result is None:
        return "unfinished"
    return "diverged" if result.diverged else "pruned" if result.pruned else "done"


def _value(axis: Axis, given: Any) -> Any:
    """Return a setting as a cell: a number, or else the YAML."""
    if isinstance(axis, Range) or given is None or _kind(axis) == pl.String:
        return given
    return parse(given)


def _kind(axis: Axis) -> type[pl.DataType]:
    if isinstance(axis, Range):
        return pl.Int64 if axis.is_whole else pl.Float64
    kinds = {type(parse(text)) for text in axis.corners}
    if kinds == {int}:
        return pl.Int64
    return pl.Float64 if kinds <= {int, float} else pl.String


def _schema(search: Search) -> dict[str, Any]:
    return {
        "trial": pl.Int64,
        "state": pl.String,
        **{axis.key: _kind(axis) for axis in search.space},
        **dict.fromkeys(search.criterion.names, pl.Float64),
        "epoch": pl.Int64,
        "seconds": pl.Float64,
        "run": pl.String,
    }
