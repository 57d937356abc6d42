"""Define the command `compare`, which compares two runs, bit by bit."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.completion import complete_run
from cofi_dist.cli.progress import working
from cofi_dist.streams import Style, log_stderr, print_styled

if TYPE_CHECKING:
    from cofi_dist.report.compare import Difference


def compare(
    first: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_A", help="Run directory.", show_default=False, autocompletion=complete_run
        ),
    ],
    second: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_B", help="Another run's.", show_default=False, autocompletion=complete_run
        ),
    ],
) -> None:
    """Print where two runs differ, to the last bit.

    Exit code 0: they are bit-identical; 1: they differ.
    """
    from cofi_dist.cli.tables import print_table
    from cofi_dist.report.compare import compare as compare_runs
    from cofi_dist.run.directory import RunDirectory

    with working("comparing"):
        found = compare_runs(first, second)
    for run in (first, second):
        result = RunDirectory(run).read_result()
        if result is not None and result.pruned:
            log_stderr(f"{run}: was pruned by a search, {result.pruned}")
    rows = [(each.name, _size(each), each.where, each.detail) for each in found]
    print_table(
        ("", "largest difference", "where", ""),
        rows,
        [Style.plain if each.bit_identical else Style.warning for each in found],
        is_cut=False,
    )
    same = all(each.bit_identical for each in found)
    verdict = ("bit-identical", Style.good) if same else ("not bit-identical", Style.error)
    print_styled(("\n", Style.plain), verdict)
    if not same:
        raise typer.Exit(1)


def _size(difference: "Difference") -> str:
    if difference.bit_identical:
        return "same bits"
    return "-" if math.isnan(difference.largest) else f"{difference.largest:.3g}"
