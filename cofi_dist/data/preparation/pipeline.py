"""Prepare a file or table of ratings for training, as a stream: memory does not grow with it.

1. Read it once. Ids are numbered as they appear, and the ratings go to one spool on disk.
2. Distribute the ratings over spools of consecutive users, each small enough to be sorted in memory.
3. Spool by spool: sort, resolve duplicates, split, and write the arrays in user order. A filter or a split by
   times must see all ratings before it drops or takes one, so for these the sorted ratings are spooled again.
4. Distribute the training ratings once more, over spools of consecutive items, and write them in item order.

While one piece or spool is written, threads sort the next ones.
"""

import json
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cofi_dist.config import DataSection
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.data.preparation.duplicates import keep_one_of_each, sort_by_pair
from cofi_dist.data.preparation.filters import k_core_filter
from cofi_dist.data.preparation.id_encoder import Encoder
from cofi_dist.data.preparation.job import Job, SpooledRatings
from cofi_dist.data.preparation.split_checks import refuse_equal_times, why_empty
from cofi_dist.data.preparation.spool import RowBatch, Spool, spools_by_range
from cofi_dist.data.preparation.store import FORMAT, ITEMS, MANIFEST, USERS
from cofi_dist.data.preparation.time_cutoffs import time_cutoffs
from cofi_dist.data.preparation.writers import (
    PartWriters,
    fingerprint,
    fits_float32,
    overflowing_item,
    write_transposed,
)
from cofi_dist.data.ratings import EQUAL_RATINGS
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.data.splits import PARTS, Part, assign_parts, held_out
from cofi_dist.errors import DataError
from cofi_dist.files.written_file import write_file
from cofi_dist.system.threads import ahead
from cofi_dist.words import counted

KEPT = {"last": "the last of each pair kept", "mean": "each pair's mean kept"}


def prepare(given: RatingsInput, data: DataSection, directory: Path) -> None:
    """Write the prepared ratings of a file or table into `directory`, which exists and is empty.

    Args:
        given: the file or table.
        data: columns, duplicates, filters, splits, centring.
        directory: a temporary one, which the caller puts in place when this returns.

    Raises:
        DataError: the file or table, the line or row and what is wrong with it; or no ratings are left.
    """
    job = Job(given, data, directory / "work", notes=[])
    job.work.mkdir()
    ratings = _read(job)
    is_filtered = data.min_user_ratings > 1 or data.min_item_ratings > 1
    # if something fails, the threads end before the caller removes the files that they read
    with closing(_without_duplicates(job, ratings)) as sorted_rows:
        batches: Iterator[RowBatch] = sorted_rows
        if is_filtered or job.with_time:
            _spool_sorted(job, ratings, sorted_rows)
            if is_filtered:
                _filter(job, ratings)
            batches = ratings.taken()
        num_ratings = _write_parts(job, ratings, batches, directory)
    ids = ratings.users, ratings.items
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(fingerprint, ids, directory, tuple(num_ratings))
        scale = write_transposed(directory, len(ratings.items), job.work)
    item = overflowing_item(directory)
    if item is not None:
        raise DataError(
            f"{given.name}: the ratings of item {ratings.items[item]} sum to more than float64 holds; divide"
            " all by a number"
        )
    manifest = _manifest(job, ratings, directory, num_ratings, scale, digest.result())
    job.work.rmdir()
    write_file(directory / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    IdMap(ratings.users).save(directory / USERS)
    IdMap(ratings.items).save(directory / ITEMS)


def _read(job: Job) -> SpooledRatings:
    """Read the ratings into spools of consecutive users (steps 1 and 2)."""
    columns, feedback, dtypes = job.data.columns, job.data.feedback, job.dtypes
    users, items, spool = Encoder(), Encoder(), Spool(job.work / "read", dtypes)
    kept = [name for name in dtypes if name in ("value", "weight")]
    narrow = set(kept)  # columns of which float32 has held all numbers exactly so far
    floats = {name: name in dtypes for name in ("time", "weight")}
    for table in job.given.tables(columns, feedback=feedback, **floats):
        codes = {"user": users.codes(table["user"]), "item": items.codes(table["item"])}
        rows = {**codes, **{name: table[name].to_numpy() for name in dtypes if name not in codes}}
        narrow = {name for name in narrow if fits_float32(rows[name])}
        spool.append(rows)
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
    pieces = _renumbered(spool, user_rank, item_rank)
    dtypes |= dict.fromkeys(narrow, np.float32)
    spools = spools_by_range(pieces, dtypes, "user", ratings_per_user, job.work)
    spool.remove()
    return SpooledRatings(user_ids, item_ids, spools, dict.fromkeys(kept, np.float32))


def _renumbered(
    spool: Spool, user_rank: NDArray[np.int32], item_rank: NDArray[np.int32]
) -> Iterator[RowBatch]:
    for piece in spool.pieces():
        yield {**piece, "user": user_rank[piece["user"]], "item": item_rank[piece["item"]]}


def _without_duplicates(job: Job, ratings: SpooledRatings) -> Generator[RowBatch, None, None]:
    """Yield the ratings of each spool, which is removed, by user, then item, and one of each pair."""
    policy, num_before, num_after = job.data.duplicates, len(ratings), 0
    for rows in ahead(partial(_sorted_spool, job, ratings), ratings.spools):
        num_after += len(rows["user"])
        yield rows
    num_repeats = num_before - num_after
    if policy == "sum" and num_repeats:
        pairs = counted(num_after, "pair of user and item")
        job.notes.append(f"duplicates: the strengths of {counted(num_before, 'event')} summed over {pairs}")
    elif policy in KEPT:
        job.notes.append(f"duplicates: {KEPT[policy]}, {counted(num_repeats, job.noun)} dropped")


def _sorted_spool(job: Job, ratings: SpooledRatings, spool: Spool) -> RowBatch:
    """Take the ratings out of a spool, sorted by user, then item, and one of each pair."""
    rows, repeats = sort_by_pair(spool.whole())
    spool.remove()
    if repeats.any():
        if job.data.duplicates == "error":
            first = int(np.flatnonzero(repeats)[0])
            raise _duplicate_error(job, ratings, rows["user"][first], rows["item"][first])
        rows = keep_one_of_each(rows, repeats, job.data.duplicates)
    return rows


def _spool_sorted(job: Job, ratings: SpooledRatings, batches: Iterator[RowBatch]) -> None:
    """Keep sorted ratings on disk, in new spools, and find out which columns need float64."""
    spools = []
    for k, rows in enumerate(batches):
        spools.append(Spool(job.work / f"sorted{k}", job.dtypes))
        spools[k].append(rows)
        for name in ratings.dtypes:
            if not fits_float32(rows[name]):
                ratings.dtypes[name] = np.float64
    ratings.spools = spools


def _duplicate_error(job: Job, ratings: SpooledRatings, user: int, item: int) -> DataError:
    user_id, item_id = str(ratings.users[int(user)]), str(ratings.items[int(item)])
    first, second = job.given.first_rows_of_pair(job.data.columns, user_id, item_id)
    where = job.given.row
    is_of_events = job.data.feedback == "implicit"
    verb, policies = ("has", "sum, last or mean") if is_of_events else ("rated", "last or mean")
    return DataError(
        f"{job.given.name}: {where} {second}: user {user_id} {verb} item {item_id} on {where} {first}"
        f" already; keep one of them, or set data.duplicates to {policies}"
    )


def _filter(job: Job, ratings: SpooledRatings) -> None:
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
        rows = _masked(rows, stays)
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


def _write_parts(
    job: Job, ratings: SpooledRatings, batches: Iterable[RowBatch], directory: Path
) -> dict[Part, int]:
    """Split the ratings and write each part in user order; return the number of ratings per part."""
    splits = held_out(job.data)
    if job.with_time:
        refuse_equal_times(job.given.name, ratings.spools, splits)
    cutoffs = time_cutoffs(ratings.spools, splits)
    parts: tuple[Part, ...] = ("train", *splits)
    with PartWriters(directory, parts, len(ratings.users), ratings.dtypes) as writers:
        for rows in batches:
            if not splits:
                writers.append({"train": rows})
                continue
            part_N = assign_parts(rows["user"], rows["item"], splits, rows.get("time"), cutoffs)
            masks = {part: part_N == PARTS.index(part) for part in parts}
            writers.append({part: _masked(rows, mask) for part, mask in masks.items()})
        num_ratings = writers.finish()
    total = sum(num_ratings.values())
    if splits:
        job.notes.extend(f"{part}: {counted(count, job.noun)}" for part, count in num_ratings.items())
    if not num_ratings["train"]:
        raise DataError(f"{job.given.name}: nothing is left for training; hold out less")
    for part, split in splits.items():
        if not num_ratings[part]:
            raise DataError(f"{job.given.name}: data.{part}: holds out nothing: {why_empty(split, total)}")
    return num_ratings


def _masked(rows: RowBatch, mask: NDArray[np.bool_]) -> RowBatch:
    return {name: values[mask] for name, values in rows.items()}


def _manifest(
    job: Job,
    ratings: SpooledRatings,
    directory: Path,
    num_ratings: dict[Part, int],
    scale: tuple[float, float],
    digest: str,
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
        "fingerprint": digest,
        "notes": job.notes,
    }
