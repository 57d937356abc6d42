"""Print results as tables: of the width of the terminal, or, in a file, of 80 columns."""

import io
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len, set_cell_size

from cofi_dist.streams import Style, harmless, log_stderr, print_as_it_is, print_styled, shows_colours

if TYPE_CHECKING:
    from cofi_dist.model import Model

WIDTH = 80  # where there is no terminal
LEAST_TEXT = 8  # the width of a column of text that is made narrower
SPACE_AT_END = re.compile(r" +(\x1b\[0m)?$")
NUMBER = re.compile(r"-|[-+]?\d[\d.,]*(e[-+]?\d+)?")
PIECE = re.compile(r"[^._]*[._]|[^._]+")  # of a header


def print_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    styles: Sequence[Style] = (),
    *,
    is_cut: bool = True,
) -> None:
    """Print a table, all columns aligned to the right, but text in the last one to the left.

    Widths are those on a terminal, where a letter may take two places, or none. On a terminal, text that does
    not fit goes on in the next line. Elsewhere, a row is one line.

    Args:
        headers: of the columns.
        rows: the cells.
        styles: of the first rows; the others are plain.
        is_cut: whether text in the last column is cut to fit where there is no terminal.
    """
    lines = [[_as_shown(cell) for cell in line] for line in (headers, *rows)]
    looks = [Style.heading, *styles, *[Style.plain] * (len(rows) - len(styles))]
    are_numbers = [all(map(NUMBER.fullmatch, column[1:])) for column in zip(*lines, strict=True)]
    if sys.stdout.isatty():
        print_as_it_is(_drawn(lines, looks, are_numbers))
        return
    widths = _widths(lines)
    for line, style in zip(lines, looks, strict=True):
        *first, last = (
            " " * (width - cell_len(cell)) + cell for cell, width in zip(line, widths, strict=True)
        )
        start = "".join(f"{cell}  " for cell in first)
        if not are_numbers[-1]:
            last = _cut(line[-1], max(WIDTH - cell_len(start), 0)) if is_cut else line[-1]
        print_styled((f"{start}{last}".rstrip(), style))


def _drawn(lines: Sequence[Sequence[str]], looks: Sequence[Style], are_numbers: Sequence[bool]) -> str:
    """Return a table for the terminal, as wide as that at most.

    If it is too wide, headers go on in the next line, and text does. Numbers do only if nothing else helps.
    """
    from rich.console import Console  # slow to import, and a file needs none of it
    from rich.table import Table
    from rich.text import Text

    room, gap, gaps = shutil.get_terminal_size().columns, 2, len(lines[0]) - 1
    if sum(_widths(lines)) + gap * gaps > room:
        lines = [[_folded(*column) for column in zip(*lines, strict=True)], *lines[1:]]
    least = sum(
        width if is_number else min(width, LEAST_TEXT)
        for width, is_number in zip(_widths(lines), are_numbers, strict=True)
    )
    if least + gap * gaps > room:
        gap = 1
    have_room = least + gap * gaps <= room
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, gap, 0, 0))
    for number, is_number in enumerate(are_numbers):
        justify: Literal["left", "right"] = "left" if number == gaps and not is_number else "right"
        table.add_column(justify=justify, overflow="fold", no_wrap=is_number and have_room)
    for line, style in zip(lines, looks, strict=True):
        table.add_row(*map(Text, line), style=style)
    drawn = io.StringIO()  # stdout would take the control sequences for somebody else's
    Console(
        file=drawn,
        width=room,
        force_terminal=True,
        color_system="standard" if shows_colours(sys.stdout) else None,
    ).print(table)
    return "\n".join(SPACE_AT_END.sub(r"\1", line) for line in drawn.getvalue().splitlines())


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of the columns."""
    return [
        max(cell_len(line) for cell in column for line in cell.split("\n"))
        for column in zip(*lines, strict=True)
    ]


def _folded(header: str, *cells: str) -> str:
    """Return a header with line ends behind points and underscores, no wider than its cells if it can be."""
    pieces = PIECE.findall(header)
    width = max(map(cell_len, (*cells, *pieces)))
    lines = [""]
    for piece in pieces:
        if cell_len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)


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
