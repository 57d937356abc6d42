"""Results as tables of 80 columns, and titles to put in them."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from cofi_dist.errors import DataError

if TYPE_CHECKING:
    from cofi_dist.model import Model

WIDTH = 80
FIELDS_OF = {".dat": "::", ".item": "|"}


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


def read_titles(path: Path | None, item_column: str) -> dict[str, str]:
    """The title of each item's raw id, as text; none without a file.

    Args:
        path: a CSV file with a header that names `item_column` and `title`; or, as MovieLens has them,
            movies.dat (`id::title::...`) or u.item (`id|title|...`), in UTF-8 or Latin-1.
        item_column: where the ids are in CSV.

    Raises:
        DataError: the file can't be read or lacks a column.
    """
    if path is None:
        return {}
    try:
        if path.suffix in FIELDS_OF:
            return _titles_without_header(path, FIELDS_OF[path.suffix])
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            have = reader.fieldnames or []
            for name in (item_column, "title"):
                if name not in have:
                    raise DataError(f"{path}: no column {name!r} in {', '.join(have) or 'an empty file'}")
            return {row[item_column]: " ".join((row["title"] or "").split()) for row in reader}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not CSV in UTF-8: {error}") from None


def _titles_without_header(path: Path, separator: str) -> dict[str, str]:
    raw = path.read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    titles = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split(separator)
        if line and len(fields) < 2:
            raise DataError(f"{path}: line {number}: needs id{separator}title")
        if line:
            titles[fields[0]] = " ".join(fields[1].split())
    return titles
