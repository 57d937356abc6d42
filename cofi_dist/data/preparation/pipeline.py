"""Prepare a file or table of ratings for training, as a stream: memory does not grow with it.

1. Read it once. Ids are numbered as they appear, and the ratings go to one spool on disk.
2. Distribute the ratings over spools of consecutive users, each small enough to be sorted in memory.
3. Spool by spool: sort, resolve duplicates, filter, split, and write the arrays in user order.
4. Distribute the training ratings once more, over spools of consecutive items, and write them in item order.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.config import DataSection
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.data.preparation.duplicates import keep_one_of_each, sort_by_pair
from cofi_dist.data.preparation.filters import k_core_filter
from cofi_dist.data.preparation.id_encoder import Encoder
from cofi_dist.data.preparation.split_checks import refuse_equal_times, why_empty
from cofi_dist.data.preparation.spool import RowBatch, Spool, spools_by_range
from cofi_dist.data.preparation.store import FORMAT, ITEMS, MANIFEST, USERS
from cofi_dist.data.preparation.time_cutoffs import time_cutoffs
from cofi_dist.data.preparation.writers import PartWriter, fingerprint, overflowing_item, write_transposed
from cofi_dist.data.ratings import EQUAL_RATINGS
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.data.splits import PARTS, Part, assign_parts, held_out
from cofi_dist.errors import DataError
from cofi_dist.files.written_file import write_file
from cofi_dist.words import counted

DTYPES = {"user": np.int32, "item": np.int32, "value": np.float64}
KEPT = {"last": "the last of each pair kept", "mean": "each pair's mean kept"}


@dataclass(frozen=True)
class _Job:
    """Hold what every step of a preparation needs.

    Attributes:
        given: the file or table of ratings.
        data: the config's section.
        work: folder for the spools.
        notes: lines about what was read, dropped and held out; every step adds its own.
    """

    given: RatingsInput
    data: DataSection
    work: Path
    notes: list[str]

    @property
    def noun(self) -> str:
        """Return what a row is."""
        return "event" if self.data.feedback == "implicit" else "rating"


@dataclass
class _SpooledRatings:
    """Hold ratings on disk, in spools of consecutive users.

    Attributes:
        users: raw ids of the users, ascending; a rating's `user` is a position in it.
        items: the same of the items.
        spools: in the order of their users.
        dtypes: of the values, and of the weights if there are any: float32 if that holds all exactly.
    """

    users: pl.Series
    items: pl.Series
    spools: list[Spool]
    dtypes: dict[str, type[np.floating]]

    def __len__(self) -> int:
        return sum(map(len, self.spools))

    def replace_spool(self, k: int, rows: RowBatch, work: Path, step: str) -> None:
        """Put `rows` in the place of spool k, in a new folder that is named after the step."""
        replacement = self.spools[k].like(work / f"{step}{k}")
        replacement.append(rows)
        self.spools[k].remove()
        self.spools[k] = replacement


def prepare(given: RatingsInput, data: DataSection, directory: Path) -> None:
    """Write the prepared ratings of a file or table into `directory`, which exists and is empty.

    Args:
        given: the file or table.
        data: columns, duplicates, filters, splits, centring.
        directory: a temporary one, which the caller puts in place when this returns.

    Raises:
        DataError: the file or table, the line or row and what is wrong with it; or no ratings are left.
    """
    job = _Job(given, data, directory / "work", notes=[])
    job.work.mkdir()
    ratings = _read(job)
    _resolve_duplicates(job, ratings)
    if data.min_user_ratings > 1 or data.min_item_ratings > 1:
        _filter(job, ratings)
    num_ratings = _write_parts(job, ratings, directory)
    scale = write_transposed(directory, len(ratings.items), job.work)
    item = overflowing_item(directory)
    if item is not None:
        raise DataError(
            f"{given.name}: the ratings of item {ratings.items[item]} sum to more than float64 holds; divide"
            " all by a number"
        )
    manifest = _manifest(job, ratings, directory, num_ratings, scale)
    job.work.rmdir()
    write_file(directory / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    IdMap(ratings.users).save(directory / USERS)
    IdMap(ratings.items).save(directory / ITEMS)


def _read(job: _Job) -> _SpooledRatings:
    """Read the ratings into spools of consecutive users (steps 1 and 2)."""
    columns, feedback = job.data.columns, job.data.feedback
    with_time = any(split.needs_times for split in held_out(job.data).values())
    with_weight = columns.weight is not None
    floats = {"time": with_time, "weight": with_weight}
    dtypes = {**DTYPES, **{name: np.float64 for name, is_read in floats.items() if is_read}}
    users, items, spool = Encoder(), Encoder(), Spool(job.work / "read", dtypes)
    for table in job.given.tables(columns, feedback=feedback, time=with_time, weight=with_weight):
        codes = {"user": users.codes(table["user"]), "item": items.codes(table["item"])}
        spool.append({**codes, **{name: table[name].to_numpy() for name in dtypes if name not in codes}})
    if not len(spool):
        raise DataError(f"{job.given.name}: holds no {job.noun}s")
    # until now, ids were numbered as they came; from here on, in ascending order
    (user_ids, user_rank), (item_ids, item_rank) = users.ranked(), items.ranked()
    who, what = counted(len(user_ids), "user"), counted(len(item_ids), "item")
    job.notes.append(f"read {counted(len(spool), job.noun)} of {who} on {what}")
    job.notes.extend(job.given.notes(columns, feedback))
    job.notes.extend(job.given.notes_on_ids(columns, users.distinct, items.distinct))
    ratings_per_user = np.empty_like(users.counts)
    ratings_per_user[user_rank] = users.counts
    rows = _renumbered(spool, user_rank, item_rank)
    spools = spools_by_range(rows, dtypes, "user", ratings_per_user, job.work)
    spool.remove()
    kept_as = dict.fromkeys(("value", "weight") if with_weight else ("value",), np.float32)
    return _SpooledRatings(user_ids, item_ids, spools, {**kept_as})


def _renumbered(
    spool: Spool, user_rank: NDArray[np.int32], item_rank: NDArray[np.int32]
) -> Iterator[RowBatch]:
    for piece in spool.pieces():
        yield {**piece, "user": user_rank[piece["user"]], "item": item_rank[piece["item"]]}


def _resolve_duplicates(job: _Job, ratings: _SpooledRatings) -> None:
    """Sort every spool by user, then item, and keep one rating of each pair."""
    policy, num_before = job.data.duplicates, len(ratings)
    for k, spool in enumerate(ratings.spools):
        rows, repeats = sort_by_pair(spool.whole())
        if repeats.any():
            if policy == "error":
                first = int(np.flatnonzero(repeats)[0])
                raise _duplicate_error(job, ratings, rows["user"][first], rows["item"][first])
            rows = keep_one_of_each(rows, repeats, policy)
        for name in ratings.dtypes:
            with np.errstate(over="ignore", under="ignore"):
                if not np.array_equal(rows[name].astype(np.float32), rows[name]):
                    ratings.dtypes[name] = np.float64
        ratings.replace_spool(k, rows, job.work, "sorted")
    num_repeats = num_before - len(ratings)
    if policy == "sum" and num_repeats:
        pairs = counted(len(ratings), "pair of user and item")
        job.notes.append(f"duplicates: the strengths of {counted(num_before, 'event')} summed over {pairs}")
    elif policy in KEPT:
        job.notes.append(f"duplicates: {KEPT[policy]}, {counted(num_repeats, job.noun)} dropped")


def _duplicate_error(job: _Job, ratings: _SpooledRatings, user: int, item: int) -> DataError:
    user_id, item_id = str(ratings.users[int(user)]), str(ratings.items[int(item)])
    first, second = job.given.first_rows_of_pair(job.data.columns, user_id, item_id)
    where = job.given.row
    is_of_events = job.data.feedback == "implicit"
    verb, policies = ("has", "sum, last or mean") if is_of_events else ("rated", "last or mean")
    return DataError(
        f"{job.given.name}: {where} {second}: user {user_id} {verb} item {item_id} on {where} {first}"
        f" already; keep one of them, or set data.duplicates to {policies}"
    )


def _filter(job: _Job, ratings: _SpooledRatings) -> None:
    """Drop users and items that have too few ratings, and number the remaining ones without gaps."""
    sizes = len(ratings.users), len(ratings.items)
    at_least = job.data.min_user_ratings, job.data.min_item_ratings
    user_stays, item_stays, rounds = k_core_filter(ratings.spools, sizes, at_least)
    num_before = len(ratings)
    user_rank, item_rank = (
        np.cumsum(stays, dtype=np.int32) - np.int32(1) for stays in (user_stays, item_stays)
    )
    for k, spool in enumerate(ratings.spools):
        rows = spool.whole()
        stays = user_stays[rows["user"]] & item_stays[rows["item"]]
        rows = {name: values[stays] for name, values in rows.items()}
        rows = {**rows, "user": user_rank[rows["user"]], "item": item_rank[rows["item"]]}
        ratings.replace_spool(k, rows, job.work, "filtered")
    ratings.users, ratings.items = ratings.users.filter(user_stays), ratings.items.filter(item_stays)
    limits = f"min_user_ratings {at_least[0]}, min_item_ratings {at_least[1]}"
    if not len(ratings):
        raise DataError(f"{job.given.name}: {limits}: nothing is left; lower them")
    job.notes.append(
        f"{limits}: dropped {counted(int((~user_stays).sum()), 'user')},"
        f" {counted(int((~item_stays).sum()), 'item')} and {counted(num_before - len(ratings), job.noun)}"
        f" in {counted(rounds, 'round')}"
    )


def _write_parts(job: _Job, ratings: _SpooledRatings, directory: Path) -> dict[Part, int]:
    """Split the ratings and write each part in user order; return the number of ratings per part."""
    splits = held_out(job.data)
    refuse_equal_times(job.given.name, ratings.spools, splits)
    cutoffs = time_cutoffs(ratings.spools, splits)
    parts: tuple[Part, ...] = ("train", *splits)
    writers = {part: PartWriter(directory, part, len(ratings.users), ratings.dtypes) for part in parts}
    total = len(ratings)
    for spool in ratings.spools:
        rows = spool.whole()
        part_N = assign_parts(rows["user"], rows["item"], splits, rows.get("time"), cutoffs)
        for part in parts:
            in_part = part_N == PARTS.index(part)
            writers[part].append({name: values[in_part] for name, values in rows.items()})
        spool.remove()
    num_ratings = {part: writer.close() for part, writer in writers.items()}
    if splits:
        job.notes.extend(f"{part}: {counted(count, job.noun)}" for part, count in num_ratings.items())
    if not num_ratings["train"]:
        raise DataError(f"{job.given.name}: nothing is left for training; hold out less")
    for part, split in splits.items():
        if not num_ratings[part]:
            raise DataError(f"{job.given.name}: data.{part}: holds out nothing: {why_empty(split, total)}")
    return num_ratings


def _manifest(
    job: _Job,
    ratings: _SpooledRatings,
    directory: Path,
    num_ratings: dict[Part, int],
    scale: tuple[float, float],
) -> dict[str, object]:
    """Describe the prepared ratings, for `StoredRatings` and for people."""
    lowest, highest = scale
    if lowest == highest and job.data.feedback == "explicit":
        job.notes.append(f"every training rating is {lowest:g}: {EQUAL_RATINGS}")
    return {
        "format": FORMAT,
        "source": job.given.source,
        "num_users": len(ratings.users),
        "num_items": len(ratings.items),
        "num_ratings": num_ratings,
        "feedback": job.data.feedback,
        "weighted": [part for part in num_ratings if (directory / f"{part}_weight.npy").exists()],
        "columns": job.data.columns.model_dump(),
        "duplicates": job.data.duplicates,
        "splits": {part: split.model_dump(exclude_none=True) for part, split in held_out(job.data).items()},
        "centre": job.data.centre,
        "damping": job.data.damping,
        "lowest": lowest,
        "highest": highest,
        "ids": digests((IdMap(ratings.users), IdMap(ratings.items))),
        "fingerprint": fingerprint((ratings.users, ratings.items), directory, tuple(num_ratings)),
        "notes": job.notes,
    }
