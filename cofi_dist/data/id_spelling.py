"""Check how ids are spelt: which texts are refused as ids, and which deserve a note.

Two ids that look alike are still two users: nothing is merged. Therefore an id that begins or ends with an
invisible character is refused, and whatever else is odd about the ids of a file is reported once, with the
line where it is first seen.
"""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.files.reading import shortened
from cofi_dist.words import counted, have

# Control characters, blanks and other characters without a shape: code points, both ends included. Variation
# selectors, which choose a form of the letter before them, are missing: words and emojis do end with them.
HIDDEN_RANGES = (
    *((0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160)),
    *((0x1680, 0x1680), (0x17B4, 0x17B5), (0x180E, 0x180E), (0x2000, 0x200F), (0x2028, 0x202F)),
    *((0x205F, 0x206F), (0x2800, 0x2800), (0x3000, 0x3000), (0x3164, 0x3164), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB)),
)
HIDDEN = "".join(chr(code) for lowest, highest in HIDDEN_RANGES for code in range(lowest, highest + 1))
BLANKS = " \t\r\n"
JOINERS = "\u200c\u200d"  # belong inside words of some scripts, and inside emojis
# What programs write for a missing value.
MISSING_VALUES = (
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
    """Say what is wrong with an id; None if nothing is wrong."""
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
    """Mark the ids in which `id_fault` finds a fault."""
    return (text == "") | (text != text.str.strip_chars(HIDDEN))


@dataclass(frozen=True)
class DistinctIds:
    """Hold the distinct ids of a column, in the order in which they first appear.

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


def id_notes(kind: str, distinct: DistinctIds, location: Callable[[int], str]) -> Iterator[str]:
    """Yield a line about everything that is odd about the ids of a column.

    Args:
        kind: `user` or `item`.
        distinct: ids of the column.
        location: returns `line N` for a row that is counted from 0.
    """
    ids = distinct.ids
    if ids.dtype != pl.String or not len(ids):
        return
    integers = ids.cast(pl.Int64, strict=False)
    not_plain = distinct.filter(integers.cast(pl.String).ne_missing(ids))
    if 0 < len(not_plain) < len(ids) or ids.str.contains(r"^-?[0-9]+\.0+$").all():
        yield (
            f"{kind} ids are text, not numbers: {shortened(not_plain.ids[0])} on"
            f" {location(int(not_plain.first_rows[0]))} is no plain whole number of 64 bits, like"
            f" {len(not_plain):,} of {len(ids):,}"
        )
    rounded = distinct.filter(ids.str.contains(r"^-?[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2,3}$"))
    if len(rounded):
        yield (
            f"{_ratings_have(rounded)} {_any_of(kind, rounded, location)}: long numbers that a program has"
            " rounded, perhaps several to one"
        )
    missing = distinct.filter(ids.str.to_lowercase().is_in(MISSING_VALUES))
    if len(missing):
        yield (
            f"{_ratings_have(missing)} {_any_of(kind, missing, location)}: taken for an id; drop them if it"
            " stands for none"
        )
    inside = "".join(character for character in HIDDEN if character not in JOINERS + " ")
    hidden = distinct.filter(ids.str.contains(f"[{inside}]"))
    if len(hidden):
        yield (
            f"{_ratings_have(hidden)} a {kind} id with characters inside that can't be seen, first"
            f" {shortened(hidden.ids[0])} on {location(int(hidden.first_rows[0]))}"
        )
    yield from _notes_on_look_alikes(kind, distinct, location)


def _notes_on_look_alikes(kind: str, distinct: DistinctIds, location: Callable[[int], str]) -> Iterator[str]:
    """Yield a line about ids that differ from an earlier one in their spelling alone."""
    table = pl.DataFrame({"id": distinct.ids, "shape": _shape(distinct.ids)}).with_row_index("index")
    repeats = table.filter(pl.col("shape").is_duplicated() & ~pl.col("shape").is_first_distinct())
    if not len(repeats):
        return
    later = repeats.row(0, named=True)
    earlier = table.filter(pl.col("shape") == later["shape"]).row(0, named=True)
    one, other = (
        f"{shortened(ascii(each['id']), quoted=False)} ({location(int(distinct.first_rows[each['index']]))})"
        for each in (earlier, later)
    )
    are = "is" if len(repeats) == 1 else "are"
    yield (
        f"{counted(len(repeats), f'{kind} id')} {are} spelt like another but for zeros, blanks or forms of a"
        f" letter, first {other}, like {one}: taken for different {kind}s"
    )


def _shape(ids: pl.Series) -> pl.Series:
    """Reduce ids to what they look like: 1, 01 and 1.0 become equal, as do blanks and forms of a letter."""
    text = ids.to_frame("id").select(
        pl.when(pl.col("id").str.contains(r"[^\x21-\x7e]"))
        .then(
            pl.col("id").str.normalize("NFKC")
            .str.replace_all(f"[{HIDDEN.replace(' ', '')}\ufe00-\ufe0f]", "")
            .str.replace_all(" +", " ")
        )
        .otherwise(pl.col("id"))
    )["id"]  # fmt: skip
    is_number = text.str.contains(r"^[+-]?[0-9]+(?:\.[0-9]*)?$")
    # without trailing zeros of the fraction, a trailing point, a plus, leading zeros and the sign of zero
    number = text.str.replace(r"(\.[0-9]*?)0*$", "$1").str.replace(r"\.$", "").str.replace(r"^\+", "")
    number = number.str.replace(r"^(-?)0+([0-9])", "$1$2").str.replace(r"^-0$", "0")
    return pl.select(pl.when(is_number).then(number).otherwise(text))[:, 0]


def _ratings_have(distinct: DistinctIds) -> str:
    count = int(distinct.counts.sum())
    return f"{counted(count, 'rating')} {have(count)}"


def _any_of(kind: str, distinct: DistinctIds, location: Callable[[int], str]) -> str:
    shown = [shortened(each) for each in distinct.ids[:3]]
    shown += ["another such"] if len(distinct) > len(shown) else []
    return f"the {kind} id {' or '.join(shown)}, first on {location(int(distinct.first_rows[0]))}"
