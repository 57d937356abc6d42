"""Join new ratings with those that a model was trained on, and write them as prepared ratings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from cofi_dist.config import ColumnNames, DuplicateRule, Feedback
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.data.preparation.merged_rows import Again, JoinedSide, Merger, Rows
from cofi_dist.data.preparation.store import FORMAT, ITEMS, MANIFEST, USERS
from cofi_dist.data.preparation.writers import PartWriters, fingerprint, overflowing_item, write_transposed
from cofi_dist.data.ratings import MOST_ROWS
from cofi_dist.data.splits import Part
from cofi_dist.errors import DataError
from cofi_dist.files.written_file import write_file
from cofi_dist.words import counted


@dataclass(frozen=True, kw_only=True)
class JoinFacts:
    """Hold what the prepared ratings say of themselves, beside the ratings.

    Attributes:
        source: what was joined, in words.
        feedback: whether they are ratings, or strengths of events.
        columns: names of the columns that they were read from.
        centre: the centring and damping that they are trained with.
        again: what a new rating of a pair does to the old one.
        duplicates: the rule for pairs that are in one file twice.
    """

    source: str
    feedback: Feedback
    columns: ColumnNames
    centre: tuple[str, float | None]
    again: Again
    duplicates: DuplicateRule


@dataclass(frozen=True, kw_only=True)
class Join:
    """Hold how the rows of the joined ratings relate to those before, and what was joined.

    Attributes:
        old_users, old_items: joined row of each user and item of the old ratings, ascending.
        new_users, new_items: joined row of each user and item that has new ratings, ascending.
        num_new: new ratings.
        num_again: those of pairs that had a rating to train on before.
        num_moved: those of pairs that were held out.
        added_users, added_items: users and items that are not in the old ratings.
    """

    old_users: Rows
    old_items: Rows
    new_users: Rows
    new_items: Rows
    num_new: int
    num_again: int
    num_moved: int
    added_users: int
    added_items: int


def join_ratings(
    old: JoinedSide,
    old_ids: tuple[IdMap, IdMap],
    new: JoinedSide,
    new_ids: tuple[IdMap, IdMap],
    directory: Path,
    facts: JoinFacts,
) -> Join:
    """Write the ratings of both sides as prepared ratings, which `StoredRatings` opens.

    New ratings are for training. A held-out rating of the same pair leaves its part.

    Args:
        old: the ratings that a model was trained on, with its held-out parts.
        old_ids: raw ids of its users and items.
        new: the new ratings, a pair at most once, all in the part `train`.
        new_ids: the same of these.
        directory: a temporary one, which exists and is empty.
        facts: what the manifest says beside the ratings.

    Raises:
        DataError: the ids of the two sides are of different kinds, or there are too many.
    """
    (users, *user_rows), (items, *item_rows) = (
        _merge_ids(noun, old_map.raw, new_map.raw)
        for noun, old_map, new_map in zip(("user", "item"), old_ids, new_ids, strict=True)
    )
    sides = (old, new), user_rows, item_rows
    merger, num_ratings = _write_parts(*sides, len(users), directory, facts)
    (directory / "work").mkdir()
    scale = write_transposed(directory, len(items), directory / "work")
    (directory / "work").rmdir()
    item = overflowing_item(directory)
    if item is not None:
        raise DataError(f"the ratings of item {items.raw[item]} sum to more than float64 holds")
    users.save(directory / USERS)
    items.save(directory / ITEMS)
    join = Join(
        old_users=user_rows[0],
        old_items=item_rows[0],
        new_users=np.sort(user_rows[1]),
        new_items=np.sort(item_rows[1]),
        num_new=merger.num_new,
        num_again=merger.num_again,
        num_moved=merger.num_moved,
        added_users=len(users) - len(user_rows[0]),
        added_items=len(items) - len(item_rows[0]),
    )
    write_file(directory / MANIFEST, _manifest(directory, (users, items), num_ratings, scale, join, facts))
    return join


def notes_on_join(join: Join, facts: JoinFacts) -> list[str]:
    """Return lines that say what was joined, for people."""
    noun = "event" if facts.feedback == "implicit" else "rating"
    what = {"replace": "replace the one before", "add": "are added to what was there before"}[facts.again]
    if join.num_again == 1:
        what = {"replace": "replaces the one before", "add": "is added to what was there before"}[facts.again]
    notes = [
        f"joined {counted(join.num_new, noun)} of {counted(len(join.new_users), 'user')} on"
        f" {counted(len(join.new_items), 'item')}",
        f"new: {counted(join.added_users, 'user')} and {counted(join.added_items, 'item')}",
    ]
    if join.num_again:
        notes.append(f"{join.num_again:,} of them {what}")
    if join.num_moved:
        were = "was" if join.num_moved == 1 else "were"
        notes.append(f"{join.num_moved:,} of them {were} held out so far; now trained on")
    return notes


def _merge_ids(noun: str, old: pl.Series, new: pl.Series) -> tuple[IdMap, Rows, Rows]:
    """Return all ids in ascending order, and the row in it of each old and of each new id.

    Integers are text among text, as in a file that has both.

    Raises:
        DataError: new ids are text among integers, or integers none of which is among the text.
    """
    if new.dtype != old.dtype:
        as_old = new.cast(old.dtype, strict=False)
        is_text = old.dtype == pl.String
        is_same = not as_old.null_count() and bool((as_old.cast(new.dtype) == new).all())
        if not is_same or (is_text and not as_old.is_in(old.implode()).any()):
            kinds = {pl.String: "text", pl.Int64: "whole numbers"}
            wrong = new[0] if is_text else new.filter((as_old.cast(pl.String) != new).fill_null(True))[0]
            raise DataError(
                f"the ids of {noun}s are {kinds[type(new.dtype)]}, such as {wrong!r}, and those of the model"
                f" are {kinds[type(old.dtype)]}, such as {old[0]!r}; write them alike"
            )
        new = as_old
    merged = pl.concat([old.alias("id"), new.alias("id")]).unique().sort()
    if len(merged) > MOST_ROWS:
        raise DataError(f"more than {MOST_ROWS:,} different {noun}s; this is beyond what we can number")
    ids = IdMap(merged)
    return ids, ids.find(old).copy(), ids.find(new).copy()  # polars' arrays are read-only


def _write_parts(
    sides: tuple[JoinedSide, JoinedSide],
    users: Sequence[Rows],
    items: Sequence[Rows],
    num_users: int,
    directory: Path,
    facts: JoinFacts,
) -> tuple[Merger, dict[Part, int]]:
    """Write all parts in user order, and return what has counted the ratings, and their number per part."""
    columns = ("value",) if facts.columns.weight is None else ("value", "weight")
    merger, parts = Merger(sides, users, items, facts.again, columns), sides[0].parts
    with PartWriters(directory, parts, num_users, dict.fromkeys(columns, np.float32)) as writers:
        for piece in merger.pieces(num_users):
            writers.append(piece)
        return merger, writers.finish()


def _manifest(
    directory: Path,
    ids: tuple[IdMap, IdMap],
    num_ratings: dict[Part, int],
    scale: tuple[float, float],
    join: Join,
    facts: JoinFacts,
) -> str:
    """Describe the joined ratings, for `StoredRatings` and for people."""
    users, items = ids
    manifest = {
        "format": FORMAT,
        "source": facts.source,
        "num_users": len(users),
        "num_items": len(items),
        "num_ratings": num_ratings,
        "feedback": facts.feedback,
        "weighted": [part for part in num_ratings if (directory / f"{part}_weight.npy").exists()],
        "columns": facts.columns.model_dump(),
        "duplicates": facts.duplicates,
        "centre": facts.centre[0],
        "damping": facts.centre[1],
        "lowest": scale[0],
        "highest": scale[1],
        "ids": digests((users, items)),
        "fingerprint": fingerprint((users.raw, items.raw), directory, tuple(num_ratings)),
        "notes": [f"{facts.source}: {note}" for note in notes_on_join(join, facts)],
    }
    return json.dumps(manifest, indent=2) + "\n"
