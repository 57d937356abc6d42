"""How ids are spelt: what can't be one, and what is worth saying of those that can.

Two ids that look alike are two users all the same, and nothing is merged. So whatever can't be seen at
the ends of an id is refused, and what is odd about the ids of a file is said once, with its first line.
"""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.files.reading import shortened
from cofi_dist.words import counted, have

# Control characters, blanks and characters without a shape, which Unicode has in many places. Not those that
# choose among forms of the letter before them, which words and emojis end with.
HIDDEN_RANGES = (
    *((0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160)),
    *((0x1680, 0x1680), (0x17B4, 0x17B5), (0x180E, 0x180E), (0x2000, 0x200F), (0x2028, 0x202F)),
    *((0x205F, 0x206F), (0x2800, 0x2800), (0x3000, 0x3000), (0x3164, 0x3164), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB)),
)
HIDDEN = "".join(chr(code) for first, last in HIDDEN_RANGES for code in range(first, last + 1))
BLANKS = " \t\r\n"
JOINERS = "\u200c\u200d"  # inside a word of some scripts, or an emoji, they belong there
# What programs write where there is no value.
NOTHING = (
    "nan",
    "-nan",
    "null",
    "(null)",
    "none",
    "nil",
    "na",
    "n/a",
    "#n/a",
    "<na>",
    "nat",
    "\\n",
    "undefined",
)


def id_fault(kind: str, raw: str) -> str | None:
    """What is wrong with an id; None where nothing is."""
    if not raw.strip(BLANKS):
        return f"the {kind} id is empty"
    if raw == raw.strip(HIDDEN):
        return None
    ends = [end for end in (raw[0], raw[-1]) if end in HIDDEN]
    if ends[0] in BLANKS:
        return f"the {kind} id {shortened(raw)} begins or ends with a blank"
    name = "a byte order mark" if ends[0] == "\ufeff" else unicodedata.name(ends[0], "a control character")
    seen = f"U+{ord(ends[0]):04X} ({name.lower()}), which can't be seen"
    return f"the {kind} id {shortened(raw)} begins or ends with {seen}; remove it"


def bad_ids(text: pl.Series) -> pl.Series:
    """Where `id_fault` finds one."""
    return (text == "") | (text != text.str.strip_chars(HIDDEN))


@dataclass(frozen=True)
class DistinctIds:
    """The distinct ids of a column, in the order in which they first appear.

    Attributes:
        ids: Int64 or String.
        counts: number of ratings of each id.
        first_rows: row in which each id first appears, counted from 0.
    """

    ids: pl.Series
    counts: NDArray[np.int64]
    first_rows: NDArray[np.int64]

    @classmethod
    def of_column(cls, column: pl.Series) -> "DistinctIds":
        """Find the distinct ids of a column that is in memory."""
        rows = column.to_frame("id").with_row_index("row")
        found = rows.group_by("id", maintain_order=True).agg(count=pl.len(), first=pl.col("row").first())
        numbers = found.select(pl.col("count", "first").cast(pl.Int64))
        return cls(found["id"], numbers["count"].to_numpy(), numbers["first"].to_numpy())

    def filter(self, mask: pl.Series) -> "DistinctIds":
        """Keep the ids for which `mask` is true, neither false nor null."""
        keep = mask.fill_null(False).to_numpy()
        return DistinctIds(self.ids.filter(mask), self.counts[keep], self.first_rows[keep])

    def __len__(self) -> int:
        return len(self.ids)


def id_notes(kind: str, distinct: DistinctIds, where: Callable[[int], str]) -> Iterator[str]:
    """What is odd about the ids of a column, in a line each.

    Args:
        kind: `user` or `item`.
        distinct: its ids.
        where: `line N`, of a row counted from 0.
    """
    if distinct.ids.dtype != pl.String or not len(distinct):
        return
    numbers = distinct.ids.cast(pl.Int64, strict=False)
    other = distinct.filter(numbers.cast(pl.String).ne_missing(distinct.ids))
    if 0 < len(other) < len(distinct) or distinct.ids.str.contains(r"^-?[0-9]+\.0+$").all():
        line = where(int(other.first_rows[0]))
        yield (
            f"{kind} ids are text, not numbers: {shortened(other.ids[0])} on {line}"
            f" is no plain whole number of 64 bits, like {len(other):,} of {len(distinct):,}"
        )
    rounded = distinct.filter(distinct.ids.str.contains(r"^-?[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2,3}$"))
    if len(rounded):
        yield (
            f"{_ratings(rounded)} {_either(kind, rounded, where)}: long numbers that a program has rounded,"
            " perhaps several to one"
        )
    nothing = distinct.filter(distinct.ids.str.to_lowercase().is_in(NOTHING))
    if len(nothing):
        yield (
            f"{_ratings(nothing)} {_either(kind, nothing, where)}: taken for an id; drop them if it stands"
            " for none"
        )
    inside = "".join(hidden for hidden in HIDDEN if hidden not in JOINERS + " ")
    hidden = distinct.filter(distinct.ids.str.contains(f"[{inside}]"))
    if len(hidden):
        yield (
            f"{_ratings(hidden)} a {kind} id with characters inside that can't be seen, first"
            f" {shortened(hidden.ids[0])} on {where(int(hidden.first_rows[0]))}"
        )
    yield from _alike(kind, distinct, where)


def _alike(kind: str, distinct: DistinctIds, where: Callable[[int], str]) -> Iterator[str]:
    """Of ids that differ from an earlier one in their spelling alone."""
    table = pl.DataFrame({"id": distinct.ids, "shape": _shape(distinct.ids)}).with_row_index("row")
    again = table.filter(pl.col("shape").is_duplicated() & ~pl.col("shape").is_first_distinct())
    if not len(again):
        return
    second = again.row(0, named=True)
    first = table.filter(pl.col("shape") == second["shape"]).row(0, named=True)
    one, other = (
        f"{shortened(ascii(each['id']), quoted=False)} ({where(int(distinct.first_rows[each['row']]))})"
        for each in (first, second)
    )
    are = "is" if len(again) == 1 else "are"
    yield (
        f"{counted(len(again), f'{kind} id')} {are} spelt like another but for zeros, blanks or forms of a"
        f" letter, first {other}, like {one}: taken for different {kind}s"
    )


def _shape(ids: pl.Series) -> pl.Series:
    """What an id looks like: the same for 1, 01 and 1.0, and whatever the blanks or forms of letters."""
    text = ids.to_frame("id").select(
        pl.when(pl.col("id").str.contains(r"[^\x21-\x7e]"))
        .then(
            pl.col("id").str.normalize("NFKC")
            .str.replace_all(f"[{HIDDEN.replace(' ', '')}\ufe00-\ufe0f]", "")
            .str.replace_all(" +", " ")
        )
        .otherwise(pl.col("id"))
    )["id"]  # fmt: skip
    number = text.str.contains(r"^[+-]?[0-9]+(?:\.[0-9]*)?$")
    plain = text.str.replace(r"(\.[0-9]*?)0*$", "$1").str.replace(r"\.$", "").str.replace(r"^\+", "")
    plain = plain.str.replace(r"^(-?)0+([0-9])", "$1$2").str.replace(r"^-0$", "0")
    return pl.select(pl.when(number).then(plain).otherwise(text))[:, 0]


def _ratings(distinct: DistinctIds) -> str:
    count = int(distinct.counts.sum())
    return f"{counted(count, 'rating')} {have(count)}"


def _either(kind: str, distinct: DistinctIds, where: Callable[[int], str]) -> str:
    shown = [shortened(each) for each in distinct.ids[:3]]
    shown += ["another such"] if len(distinct) > len(shown) else []
    return f"the {kind} id {' or '.join(shown)}, first on {where(int(distinct.first_rows[0]))}"
