"""Choose the file that plot and report write, and measure the figures by popularity that both show."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.progress import Progress, announce_compilation
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CofiError, ConfigError, RunError
from cofi_dist.files.atomic import refuse_existing
from cofi_dist.files.reading import open_regular
from cofi_dist.streams import log_stderr

if TYPE_CHECKING:
    from cofi_dist.report.popularity import ByPopularity

MARK = b"cofi-dist"  # near the start of either file, as the program that wrote it

Replace = Annotated[bool, typer.Option("--replace", help="Overwrite the file.")]


def target_file(output: Path | None, run: Path | None, name: str, *, replace: bool) -> Path:
    """Return the file to write; only one that an earlier call wrote into the run is overwritten unasked."""
    kind = Path(name).suffix
    if output is not None and output.suffix != kind:
        raise ConfigError(f"--output {output}: write {kind}")
    target = output or (run or Path()) / name
    if target.is_dir():
        raise RunError(f"{target}: is a directory; give another --output")
    redrawn = output is None and run is not None and _was_written_by_us(target)
    refuse_existing(target, replace=replace or redrawn)
    return target


def _was_written_by_us(file: Path) -> bool:
    try:
        with open_regular(file) as opened:
            return MARK in opened.read(1024)
    except OSError:
        return False


def measure_by_popularity(run: Path) -> "ByPopularity | None":
    """Return figures by popularity of the item, or None if the model or its ratings are gone."""
    from cofi_dist.report.popularity import by_popularity

    announce_compilation(SoloComm())
    with Progress("evaluating", "users") as progress:
        try:
            return by_popularity(run, progress.add)
        except CofiError as error:
            log_stderr(f"figures by popularity of the item are left out: {error}")
            return None
