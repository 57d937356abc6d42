"""Read ratings into spools of consecutive users, and number their ids."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.preparation.id_encoder import Encoder
from cofi_dist.data.preparation.job import Job, SpooledRatings, counted_rows
from cofi_dist.data.preparation.spool import RowBatch, Spool, spools_by_range
from cofi_dist.data.preparation.writers import fits_float32
from cofi_dist.data.readers.ratings_input import notes_on_ids
from cofi_dist.data.splits import PARTS, Part
from cofi_dist.errors import DataError
from cofi_dist.words import counted


def read_inputs(job: Job) -> SpooledRatings:
    """Read the ratings of all inputs into spools of consecutive users (steps 1 and 2 of `pipeline`).

    Raises:
        DataError: the file or table, the line or row and what is wrong with it.
    """
    columns, feedback, dtypes = job.data.columns, job.data.feedback, job.dtypes
    users, items, spool = Encoder(), Encoder(), Spool(job.work / "read", dtypes)
    kept = [name for name in dtypes if name in ("value", "weight")]
    narrow = set(kept)  # columns of which float32 has held all numbers exactly so far
    ends: dict[Part, int] = {}
    for part, given in job.inputs.items():
        floats = {"time": job.with_time and part == "train", "weight": "weight" in dtypes}
        for table in given.tables(columns, feedback=feedback, **floats):
            codes = {"user": users.codes(table["user"]), "item": items.codes(table["item"])}
            numbers = {name: table[name].to_numpy() for name in table.columns if name not in codes}
            rows = _of_part(part, len(table)) | codes | numbers
            narrow = {name for name in narrow if fits_float32(rows[name])}
            spool.append(rows)
            job.on_step("reading", len(spool), None)
        ends[part] = len(spool)
        _note_what_was_read(job, part, ends, (len(users.distinct), len(items.distinct)))
    job.notes.extend(notes_on_ids(columns, users.distinct, items.distinct, partial(_location, job, ends)))
    # until now, ids were numbered as they came; from here on, in ascending order
    (user_ids, user_rank), (item_ids, item_rank) = users.ranked(), items.ranked()
    ratings_per_user = np.empty_like(users.counts)
    ratings_per_user[user_rank] = users.counts
    pieces = counted_rows(
        _renumbered(spool, user_rank, item_rank), "grouping by user", len(spool), job.on_step
    )
    dtypes |= dict.fromkeys(narrow, np.float32)
    spools = spools_by_range(pieces, dtypes, "user", ratings_per_user, job.work)
    spool.remove()
    return SpooledRatings(user_ids, item_ids, spools, dict.fromkeys(kept, np.float32))


def _of_part(part: Part, length: int) -> RowBatch:
    """Return the part of rows that were read, and times in place of those that no split asks for."""
    return {"part": np.full(length, PARTS.index(part), np.int8), "time": np.zeros(length)}


def _note_what_was_read(job: Job, part: Part, ends: dict[Part, int], sizes: tuple[int, int]) -> None:
    """Add notes about the input of a part.

    Args:
        job: the preparation.
        part: the part.
        ends: the number of rows up to the end of each part so far, this one included.
        sizes: number of users and of items so far.

    Raises:
        DataError: the input holds no ratings.
    """
    given, counts = job.inputs[part], np.diff([0, *ends.values()])
    if not counts[-1]:
        raise DataError(f"{given.name}: holds no {job.noun}s")
    read, notes = counted(int(counts[-1]), job.noun), given.notes(job.data.columns, job.data.feedback)
    if part == "train":
        job.notes.append(f"read {read} of {counted(sizes[0], 'user')} on {counted(sizes[1], 'item')}")
        job.notes.extend([*notes, *given.notes_on_size(*sizes)])
    else:
        job.notes.append(f"read {read} for {part} from {given.name}")
        job.notes.extend(f"{given.name}: {note}" for note in notes)


def _location(job: Job, ends: dict[Part, int], row: int) -> str:
    """Return in words where a row is, of those that were read of all parts."""
    part = next(part for part, end in ends.items() if row < end)
    start = ends[part] - int(np.diff([0, *ends.values()])[list(ends).index(part)])
    return job.inputs[part].place_of(job.data.columns, row - start).seen_from(job.name)


def _renumbered(
    spool: Spool, user_rank: NDArray[np.int32], item_rank: NDArray[np.int32]
) -> Iterator[RowBatch]:
    for piece in spool.pieces():
        yield {**piece, "user": user_rank[piece["user"]], "item": item_rank[piece["item"]]}
