"""Prepare files or a table of ratings for training, as a stream: memory does not grow with it.

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
from cofi_dist.data.preparation.job import Job, OnStep, SpooledRatings, counted_rows, say_nothing
from cofi_dist.data.preparation.reading import read_inputs
from cofi_dist.data.preparation.split_checks import (
    notes_on_shared_pairs,
    pairs_in_two_parts,
    refuse_equal_times,
    refuse_shared_files,
    why_empty,
)
from cofi_dist.data.preparation.spool import RowBatch, Spool
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
from cofi_dist.data.readers.ratings_files import RatingsFiles
from cofi_dist.data.readers.ratings_input import RatingsInput
from cofi_dist.data.splits import PARTS, Part, assign_parts, held_out
from cofi_dist.errors import DataError
from cofi_dist.files.written_file import write_file
from cofi_dist.system.threads import ahead
from cofi_dist.words import counted

KEPT = {"last": "the last of each pair kept", "mean": "each pair's mean kept"}


def prepare(given: RatingsInput, data: DataSection, directory: Path, on_step: OnStep = say_nothing) -> None:
    """Write the prepared ratings of files or of a table into `directory`, which exists and is empty.

    Args:
        given: the files or the table; parts may come from files of their own (`data.test.file`).
        data: columns, duplicates, filters, splits, centring.
        directory: a temporary one, which the caller puts in place when this returns.
        on_step: learns how far it has come.

    Raises:
        DataError: the file or table, the line or row and what is wrong with it; or no ratings are left.
    """
    inputs: dict[Part, RatingsInput] = {"train": given}
    inputs |= {part: RatingsFiles.of(split.file) for part, split in held_out(data).items() if split.file}
    refuse_shared_files(inputs)
    job = Job(inputs, data, directory / "work", notes=[], on_step=on_step)
    job.work.mkdir()
    ratings = read_inputs(job)
    is_filtered = data.min_user_ratings > 1 or data.min_item_ratings > 1
    # if something fails, the threads end before the caller removes the files that they read
    with closing(_without_duplicates(job, ratings)) as sorted_rows:
        batches: Iterator[RowBatch] = sorted_rows
        if is_filtered or job.with_time:
            _spool_sorted(job, ratings, sorted_rows)
            if is_filtered:
                _filter(job, ratings)
            batches = counted_rows(ratings.taken(), "splitting", len(ratings), on_step)
        num_ratings = _write_parts(job, ratings, batches, directory)
    ids = ratings.users, ratings.items
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(fingerprint, ids, directory, tuple(num_ratings))
        scale = write_transposed(directory, len(ratings.items), job.work, on_step)
    _refuse_overflow(job, ratings, directory)
    manifest = _manifest(job, ratings, directory, num_ratings, scale, digest.result())
    job.work.rmdir()
    write_file(directory / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    IdMap(ratings.users).save(directory / USERS)
    IdMap(ratings.items).save(directory / ITEMS)


def _refuse_overflow(job: Job, ratings: SpooledRatings, directory: Path) -> None:
    item = overflowing_item(directory)
    if item is not None:
        raise DataError(
            f"{job.name}: the ratings of item {ratings.items[item]} sum to more than float64 holds; divide"
            " all by a number"
        )


def _without_duplicates(job: Job, ratings: SpooledRatings) -> Generator[RowBatch, None, None]:
    """Yield the ratings of each spool, which is removed, by user, then item, and one of each pair."""
    policy, num_before, num_after = job.data.duplicates, len(ratings), 0
    sorted_spools = ahead(partial(_sorted_spool, job, ratings), ratings.spools)
    for rows in counted_rows(sorted_spools, "sorting by user", num_before, job.on_step):
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
    if "part" in rows:  # of a pair that is in several parts, each of them keeps one
        repeats &= rows["part"][1:] == rows["part"][:-1]
    if repeats.any():
        if job.data.duplicates == "error":
            raise _duplicate_error(job, ratings, rows, int(np.flatnonzero(repeats)[0]))
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


def _duplicate_error(job: Job, ratings: SpooledRatings, rows: RowBatch, row: int) -> DataError:
    user_id, item_id = str(ratings.users[int(rows["user"][row])]), str(ratings.items[int(rows["item"][row])])
    given = job.inputs[PARTS[rows["part"][row]] if "part" in rows else "train"]
    first, second = given.places_of_pair(job.data.columns, user_id, item_id)
    is_of_events = job.data.feedback == "implicit"
    verb, policies = ("has", "sum, last or mean") if is_of_events else ("rated", "last or mean")
    return DataError(
        f"{second.name}: {second.row}: user {user_id} {verb} item {item_id} on"
        f" {first.seen_from(second.name)} already; keep one of them, or set data.duplicates to {policies}"
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
        raise DataError(f"{job.name}: {limits}: nothing is left; lower them")
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
        refuse_equal_times(job.name, ratings.spools, splits)
    cutoffs = time_cutoffs(ratings.spools, splits)
    parts: tuple[Part, ...] = ("train", *splits)
    shared = np.zeros((len(PARTS), len(PARTS)), np.int64)
    with PartWriters(directory, parts, len(ratings.users), ratings.dtypes) as writers:
        for rows in batches:
            if not splits:
                writers.append({"train": rows})
                continue
            part_N = assign_parts(
                rows["user"], rows["item"], splits, rows.get("time"), cutoffs, rows.get("part")
            )
            if "part" in rows:
                shared += pairs_in_two_parts(rows["user"], rows["item"], part_N)
            masks = {part: part_N == PARTS.index(part) for part in parts}
            writers.append({part: _masked(rows, mask) for part, mask in masks.items()})
        num_ratings = writers.finish()
    total = sum(num_ratings.values())
    if splits:
        job.notes.extend(f"{part}: {counted(count, job.noun)}" for part, count in num_ratings.items())
        job.notes.extend(notes_on_shared_pairs(shared))
    if not num_ratings["train"]:
        raise DataError(f"{job.name}: nothing is left for training; hold out less")
    for part, split in splits.items():
        if not num_ratings[part]:
            raise DataError(f"{job.name}: data.{part}: holds out nothing: {why_empty(split, total)}")
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
        "source": job.inputs["train"].source,
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
