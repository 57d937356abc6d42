"""Train a grid of settings: one run per combination, and a table of their validation figures."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from cofi_dist.config import load_config, quote_yaml
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.run.stop import StopRequest
from cofi_dist.run.train import train
from cofi_dist.run_layout import CONFIG
from cofi_dist.run_result import read_result
from cofi_dist.streams import log_stderr
from cofi_dist.training.metrics import Criterion
from cofi_dist.training.trainer import DivergedError
from cofi_dist.tuning.compared import criterion_of, in_words, listed, require_keys, require_same_ratings


@dataclass(frozen=True)
class Point:
    """Hold one point of the grid.

    Attributes:
        values: the value of each varied key, as YAML.
        run_dir: the directory of its run.
        criterion: by which figure points are compared; the same for all.
    """

    values: dict[str, str]
    run_dir: Path
    criterion: Criterion

    @property
    def overrides(self) -> list[str]:
        """Return the overrides that `train` is given for this point."""
        return [
            *(f"{key}={value}" for key, value in self.values.items()),
            f"run_dir={quote_yaml(str(self.run_dir))}",
        ]

    @property
    def words(self) -> tuple[dict[str, str], str, dict[str, Any]]:
        """Return the point as values that can be sent to other ranks."""
        return self.values, str(self.run_dir), asdict(self.criterion)

    @classmethod
    def of_words(cls, words: Sequence[Any]) -> "Point":
        """Return the point that `words` describe."""
        values, run_dir, criterion = words
        return cls(values, Path(run_dir), Criterion(**criterion))


def points(file: Path, grid: Sequence[str], overrides: Sequence[str], output: Path) -> list[Point]:
    """Return every combination of the grid's values, after checking each; the last key varies fastest.

    Args:
        file: the YAML config.
        grid: texts `KEY=V1,V2,...`.
        overrides: texts `KEY=VALUE` for all runs.
        output: the directory for the runs, which are numbered.

    Raises:
        ConfigError: the grid, or the config of one of its points, cannot be used.
    """
    axes = [_axis(text) for text in grid]
    keys = [key for key, _ in axes]
    require_keys("--grid", keys, overrides)
    found: list[Point] = []
    for number, values in enumerate(itertools.product(*(values for _, values in axes))):
        point = Point(dict(zip(keys, values, strict=True)), output / f"{number:03}", Criterion())
        config = load_config(file, [*overrides, *point.overrides])
        first = found[0].criterion if found else None
        found.append(replace(point, criterion=criterion_of(config, str(file), first, number)))
    return found


def first_config(file: Path, grid: Sequence[str], overrides: Sequence[str], output: Path) -> dict[str, Any]:
    """Return the resolved config of the first point."""
    point = points(file, grid, overrides, output)[0]
    return load_config(file, [*overrides, *point.overrides]).model_dump(exclude_none=True)


def _axis(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    texts: list[str] = []
    why = ""
    try:
        texts = listed(values) if equals and key else []
    except ConfigError as error:
        why = f" ({error})"
    if not texts:
        raise ConfigError(f"--grid {text!r}: write KEY=V1,V2,..., such as train.lambda_=1,3,10{why}")
    return key, texts


def tune(
    file: Path,
    grid: Sequence[Point],
    overrides: Sequence[str],
    comm: Comm,
    *,
    only: int | None = None,
    stop: StopRequest | None = None,
) -> None:
    """Train the points of a grid that have not ended yet, well or badly.

    Collective: all ranks call it.

    Args:
        file: the YAML config.
        grid: the points, as `points` returns them.
        overrides: texts `KEY=VALUE` for all runs.
        comm: the ranks.
        only: the number of the only point to train; None for all.
        stop: whether this process has been asked to stop.

    Raises:
        CofiError: a run cannot be made; a run that diverges does not end the search.
        StoppedError: the search was asked to stop; with checkpoint.resume=auto the point is resumed later.
    """
    for number, point in enumerate(grid):
        if only not in (None, number):
            continue
        given = [*overrides, *point.overrides]
        if comm.from_rank_zero(partial(_is_done, file, point, given)):
            continue
        what = ", ".join(f"{key}={value}" for key, value in point.values.items())
        if comm.rank == 0:
            log_stderr(f"{number + 1}/{len(grid)}  {what}")
        try:
            goes_on = comm.from_rank_zero(partial(_is_resumed, file, given))
            train(file, given, comm, replace=not goes_on, quiet=True, stop=stop)
            if comm.rank == 0:
                log_stderr(f"    {_outcome(point)}")
        except DivergedError as error:
            if comm.rank == 0:
                log_stderr(f"    {error}")


def _is_resumed(file: Path, overrides: list[str]) -> bool:
    return load_config(file, overrides).checkpoint.resume == "auto"


def _outcome(point: Point) -> str:
    result = read_result(point.run_dir)
    return f"no {point.criterion.title()}" if result is None else in_words(result, point.criterion)


def _is_done(file: Path, point: Point, overrides: Sequence[str]) -> bool:
    """Return whether a run with this config has ended in the point's directory.

    Raises:
        RunError: the run there has another config.
    """
    config = point.run_dir / CONFIG
    if read_result(point.run_dir) is None:
        return False
    try:
        was = load_config(config)
    except ConfigError as error:
        raise RunError(f"{error}; remove {point.run_dir} to train it again") from None
    if was != load_config(file, overrides):
        raise RunError(f"{config}: is of another grid or config; give another --output")
    return True


def table_of(grid: Sequence[Point]) -> pl.DataFrame:
    """Return the table of the points that have ended, that of the best figure first.

    Its columns are the grid's keys, the figures (rmse and mae, or that of the lists), epoch, seconds and
    run. A point that diverged has no figures, and no epoch if none had a finite cost.

    Raises:
        RunError: points with the same data section were trained on different ratings.
    """
    require_same_ratings([point.run_dir for point in grid])
    rows, criterion = [], grid[0].criterion
    for point in grid:
        result = read_result(point.run_dir)
        if result is None:
            continue
        rows.append(
            {
                **point.values,
                **{name: result.validation(name) for name in criterion.names},
                "epoch": result.epoch,
                "seconds": round(result.seconds, 1),
                "run": str(point.run_dir),
            }
        )
    figures = dict.fromkeys(criterion.names, pl.Float64)
    kinds = {**figures, "epoch": pl.Int64, "seconds": pl.Float64}
    columns = [*grid[0].values, *kinds, "run"]
    table = pl.DataFrame(rows, schema={name: kinds.get(name, pl.String) for name in columns})
    return table.sort(criterion.metric, descending=criterion.better == "higher", nulls_last=True)
