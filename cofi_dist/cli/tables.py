"""Print results as tables: of the width of the terminal, or, in a file, of 80 columns."""

import io
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from cofi_dist.streams import Style, harmless, log_stderr, print_as_it_is, print_styled, shows_colours

if TYPE_CHECKING:
    from cofi_dist.model import Model

WIDTH = 80  # where there is no terminal
SPACE_AT_END = re.compile(r" +(\x1b\[0m)?$")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Style] = ()) -> None:
    """Print a table, its last column aligned to the left, the others to the right.

    Widths are those on a terminal, where a letter may take two places, or none. On a terminal, text that does
    not fit goes on in the next line. Elsewhere, a row is one line, and its last cell is cut to fit.

    Args:
        headers: of the columns.
        rows: the cells.
        styles: of the first rows; the others are plain.
    """
    lines = [[_as_shown(cell) for cell in line] for line in (headers, *rows)]
    looks = [Style.heading, *styles, *[Style.plain] * (len(rows) - len(styles))]
    if sys.stdout.isatty():
        print_as_it_is(_drawn(lines, looks))
        return
    widths = [max(cell_len(line[k]) for line in lines) for k in range(len(headers) - 1)]
    for line, style in zip(lines, looks, strict=True):
        start = "  ".join(
            " " * (width - cell_len(cell)) + cell for cell, width in zip(line[:-1], widths, strict=True)
        )
        print_styled((f"{start}  {_cut(line[-1], max(WIDTH - cell_len(start) - 2, 0))}".rstrip(), style))


def _drawn(lines: Sequence[Sequence[str]], looks: Sequence[Style]) -> str:
    """Return a table for the terminal, as wide as that at most."""
    from rich.console import Console  # slow to import, and a file needs none of it
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in range(1, len(lines[0]) + 1):
        table.add_column(justify="left" if column == len(lines[0]) else "right", overflow="fold")
    for line, style in zip(lines, looks, strict=True):
        table.add_row(*map(Text, line), style=style)
    drawn = io.StringIO()  # stdout would take the control sequences for somebody else's
    Console(
        file=drawn,
        width=shutil.get_terminal_size().columns,
        force_terminal=True,
        color_system="standard" if shows_colours(sys.stdout) else None,
    ).print(table)
    return "\n".join(SPACE_AT_END.sub(r"\1", line) for line in drawn.getvalue().splitlines())


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
        text = f"({model.facts.diverged}); this is its last good model"
        log_stderr(text, mark="the run diverged ", style=Style.warning)
