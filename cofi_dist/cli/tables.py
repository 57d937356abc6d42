"""Print results as tables of 80 columns."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from cofi_dist.streams import harmless, log_stderr

if TYPE_CHECKING:
    from cofi_dist.model import Model

WIDTH = 80


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, its last column aligned to the left and cut to fit, the others to the right.

    Widths are those on a terminal, where a letter may take two places, or none.
    """
    lines = [[_as_shown(cell) for cell in line] for line in (headers, *rows)]
    widths = [max(cell_len(line[k]) for line in lines) for k in range(len(headers) - 1)]
    for line in lines:
        start = "  ".join(
            " " * (width - cell_len(cell)) + cell for cell, width in zip(line[:-1], widths, strict=True)
        )
        print(f"{start}  {_cut(line[-1], max(WIDTH - cell_len(start) - 2, 0))}".rstrip())


def _as_shown(text: str) -> str:
    """Return the text on one line, in the letters that stdout has."""
    encoding = sys.stdout.encoding or "utf-8"
    return harmless(text, keep="").encode(encoding, "backslashreplace").decode(encoding)


def _cut(text: str, room: int) -> str:
    if cell_len(text) <= room:
        return text
    return set_cell_size(text, max(room - 3, 0)).rstrip() + "..."


def say_if_scores(model: "Model") -> None:
    """Say so on stderr if the model gives scores, which are no ratings."""
    if model.facts.is_implicit:
        log_stderr("scores say in which order items suit a user; they are not ratings, and not clipped")


def warn_if_diverged(model: "Model") -> None:
    """Say so on stderr if the model is the last good one of a run that diverged."""
    if model.facts.diverged:
        log_stderr(f"the run diverged ({model.facts.diverged}); this is its last good model")
