"""Results as tables of 80 columns."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from cofi_dist.model import Model

WIDTH = 80


def show(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the last column to the left and cut to fit, the others to the right."""
    lines = [headers, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(headers) - 1)]
    for line in lines:
        start = "  ".join(cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=True))
        room = max(WIDTH - len(start) - 2, 0)
        last = line[-1] if len(line[-1]) <= room else line[-1][: max(room - 3, 0)] + "..."
        print(f"{start}  {last}".rstrip())


def warn_of(model: "Model") -> None:
    """Say so on stderr where the model is what was left of a run that diverged."""
    if model.facts.diverged:
        print(f"of a run that diverged ({model.facts.diverged}): the last good model", file=sys.stderr)


def inline_yaml(values: dict[str, str]) -> str:
    """A mapping on one line, as a config may hold it."""
    text = yaml.safe_dump(values, default_flow_style=True, sort_keys=False, width=float("inf"))
    return str(text).strip()
