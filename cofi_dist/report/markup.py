"""Write the parts of a page: text, tables and sections; nothing that is known of a run becomes markup."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import starmap


def escaped(text: str) -> str:
    """Escape text so that nothing in it is markup; a character that cannot be printed becomes a box."""
    return escape(
        "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)
    )


def lines(parts: Iterable[str]) -> str:
    """Return the parts, each on lines of its own."""
    return "\n".join(parts)


def section(title: str, parts: Iterable[str]) -> str:
    """Return a section, or nothing if it has no content."""
    body = lines(filter(None, parts))
    return f"<section>\n<h2>{escaped(title)}</h2>\n{body}\n</section>" if body else ""


def named_values(rows: Mapping[str, str], caption: str = "", attributes: str = "") -> str:
    """Return a table of values, each with its name before it."""
    head = f"<caption>{escaped(caption)}</caption>" if caption else ""
    body = lines(
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table{attributes}>{head}<tbody>\n{body}\n</tbody></table>"


def columns(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int]) -> str:
    """Return a table with a name above each column; a first column of names heads its rows.

    Args:
        caption: of the table.
        heads: the names.
        rows: the cells, which are markup already.
        numbers: the columns that hold numbers.
    """

    def attribute(column: int) -> str:
        return ' class="number"' if column in numbers else ""

    head = "".join(f'<th scope="col"{attribute(k)}>{escaped(name)}</th>' for k, name in enumerate(heads))

    def cell(column: int, content: str) -> str:
        if column == 0 and 0 not in numbers:
            return f'<th scope="row">{content}</th>'
        return f"<td{attribute(column)}>{content}</td>"

    body = lines(f"<tr>{''.join(starmap(cell, enumerate(row)))}</tr>" for row in rows)
    return (
        f"<table><caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>\n{body}\n"
        "</tbody></table>"
    )
