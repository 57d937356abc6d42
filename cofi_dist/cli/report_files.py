"""What the commands plot and report share: the file that they write, and the error by popularity."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.progress import Progress
from cofi_dist.errors import CofiError, ConfigError, RunError
from cofi_dist.files.atomic import refuse_existing
from cofi_dist.files.reading import open_regular
from cofi_dist.streams import log_stderr

if TYPE_CHECKING:
    from cofi_dist.report.popularity import ByPopularity

MARK = b"cofi-dist"  # near the start of either, as the program that wrote it

Replace = Annotated[bool, typer.Option("--replace", help="Overwrite the file.")]


def target_file(output: Path | None, run: Path | None, name: str, *, replace: bool) -> Path:
    """Where to write; only what an earlier call left in the run directory is overwritten unasked."""
    kind = Path(name).suffix
    if output is not None and output.suffix != kind:
        raise ConfigError(f"--output {output}: write {kind}")
    target = output or (run or Path()) / name
    if target.is_dir():
        raise RunError(f"{target}: is a directory; give another --output")
    redrawn = output is None and run is not None and _is_ours(target)
    refuse_existing(target, replace=replace or redrawn)
    return target


def _is_ours(file: Path) -> bool:
    try:
        with open_regular(file) as opened:
            return MARK in opened.read(1024)
    except OSError:
        return False


def popularity_error(run: Path) -> "ByPopularity | None":
    """By popularity of the item, where the model and its ratings are still at hand."""
    from cofi_dist.report.popularity import error_by_popularity

    with Progress("judging", "users") as progress:
        try:
            return error_by_popularity(run, progress.add)
        except CofiError as error:
            log_stderr(f"error by popularity of the item is left out: {error}")
            return None
