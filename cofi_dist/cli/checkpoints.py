"""The command that lists the checkpoints of a run: checkpoints."""

import time
from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.errors import CheckpointError, RunError
from cofi_dist.streams import log_stderr


def checkpoints(
    run: Annotated[Path, typer.Argument(help="Run directory.", show_default=False)],
) -> None:
    """List the checkpoints of a run, and verify every byte of them."""
    from cofi_dist.checkpoint.manifest import FILE, read_manifest, verify
    from cofi_dist.checkpoint.reader import list_checkpoints
    from cofi_dist.cli.tables import print_table
    from cofi_dist.run_layout import CHECKPOINTS, is_run

    if not is_run(run):
        raise RunError(f"{run}: is not the directory of a run")
    rows, faults = [], []
    for directory in list_checkpoints(run / CHECKPOINTS):
        try:
            manifest = read_manifest(directory)
            for part in manifest.parts:
                verify(directory, part)
            when = time.localtime((directory / FILE).stat().st_mtime)
        except (CheckpointError, OSError) as error:
            if not _is_being_removed(directory):
                faults.append(str(error))
            continue
        size = f"{manifest.bytes / 1e6:,.1f} MB"
        epoch, ranks = str(manifest.numbers.epoch), str(manifest.world_size)
        rows.append((epoch, ranks, size, time.strftime("%Y-%m-%d %H:%M:%S", when), directory.name))
    print_table(("epoch", "ranks", "size", "saved", "whole"), rows)
    for fault in faults:
        print(f"broken: {fault}")
    if not rows and not faults:
        log_stderr(
            f"{run}: has no checkpoints; one is saved every checkpoint.every epochs, or when a run is stopped"
        )


def _is_being_removed(directory: Path) -> bool:
    """Return whether a damaged checkpoint is just being removed, in which case its manifest goes first."""
    from cofi_dist.checkpoint.manifest import FILE

    for _ in range(20):
        if not directory.exists():
            return True
        if (directory / FILE).exists():
            return False
        time.sleep(0.05)
    return False
