"""The command that holds two runs against each other."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run directory.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another.", show_default=False)],
) -> None:
    """Tell whether two runs are bit-identical, or where they differ; exit code 1 if they do."""
    from cofi_dist.cli.show import show
    from cofi_dist.report.compare import compare as compare_runs

    found = compare_runs(first, second)
    rows = [
        (each.what, "same bits" if each.same else f"{each.largest:.3g}", each.where, each.note)
        for each in found
    ]
    show(("", "largest difference", "where", ""), rows)
    same = all(each.same for each in found)
    print("\nbit-identical" if same else "\nnot bit-identical")
    if not same:
        raise typer.Exit(1)
