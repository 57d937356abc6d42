"""Say which figure the runs of a grid or a search are compared by, and refuse what cannot be compared."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from cofi_dist.config import Config, DataSection, load_config
from cofi_dist.config.strict_yaml import parse, to_yaml
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.files.atomic import write_atomically
from cofi_dist.run_layout import CONFIG
from cofi_dist.run_result import Result, read_result
from cofi_dist.training.metrics import Criterion

TABLE = "table.csv"


def in_words(result: Result, criterion: Criterion) -> str:
    """Return in words how a run ended, for the screen."""
    figure = result.validation(criterion.metric)
    shown = f"no {criterion.title()}" if figure is None else f"{criterion.title()} {figure:.5f}"
    how = f"pruned {result.pruned.partition(':')[0]}, " if result.pruned else ""
    return f"{shown}, of epoch {result.epoch}, {how}in {result.seconds:.1f} s"


def require_keys(option: str, keys: Sequence[str], overrides: Sequence[str]) -> None:
    """Raise ConfigError unless keys may be varied: each once, and no override sets it.

    Args:
        option: of the command that varies them, for messages.
        keys: the varied keys.
        overrides: texts `KEY=VALUE` for all runs.
    """
    for key in {*keys, "run_dir"}:
        if keys.count(key) > (key != "run_dir"):
            raise ConfigError(f"{option} {key}: is given twice, or is not to be varied; keep one, or none")
    given = {text.partition("=")[0] for text in overrides}
    if "run_dir" in given:
        raise ConfigError("run_dir: tune puts each run into a folder of its own; give --output instead")
    for key in given.intersection(keys):
        raise ConfigError(f"{key}: is set and varied by {option} too; keep one of them")


def criterion_of(config: Config, file: str, first: Criterion | None = None, number: int = 0) -> Criterion:
    """Return the figure that judges a run.

    Args:
        config: of the run.
        file: what the config was read from, for messages.
        first: the figure that judges point 0, which has to be the same; None if this is point 0.
        number: of this point.

    Raises:
        ConfigError: the run is not validated, or is judged by another figure than point 0.
    """
    settings = config.validation
    found = Criterion(settings.metric, settings.list_length if settings.ranks else None, settings.users)
    if settings.every is None:
        raise ConfigError(
            f"{file}: validation.every: tune compares by validation {found.title()};"
            " set it, and data.validation"
        )
    if first not in (None, found):
        raise ConfigError(
            f"{file}: validation: tune compares by one figure, but point 0 is judged by"
            f" {first} and point {number} by {found}; vary neither validation.metric, k nor users"
        )
    return found


def require_same_ratings(run_dirs: Sequence[Path]) -> None:
    """Raise RunError if runs with the same data section were trained on different ratings.

    Args:
        run_dirs: of the runs; those that have not ended are left out.
    """
    seen: dict[DataSection, tuple[Path, str]] = {}
    for run_dir in run_dirs:
        result = read_result(run_dir)
        if result is None:
            continue
        data = load_config(run_dir / CONFIG).data.model_copy(update={"centre": None, "damping": None})
        other, fingerprint = seen.setdefault(data, (run_dir, result.fingerprint))
        if fingerprint != result.fingerprint:
            raise RunError(
                f"{run_dir}: was trained on other ratings than {other}: the data has changed; give"
                " another --output"
            )


def save_table(table: pl.DataFrame, output: Path) -> Path:
    """Write the table as CSV into the directory of the grid or the search.

    Raises:
        RunError: the file cannot be written.
    """
    write_atomically(output / TABLE, table.write_csv())
    return output / TABLE


def listed(values: str) -> list[str]:
    """Return the values of a YAML list that is written without brackets, each as YAML."""
    return [to_yaml(value, one_line=True) for value in parse(f"[{values}]")]
