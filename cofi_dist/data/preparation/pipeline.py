"""From a ratings file to prepared ratings, streamed: memory does not grow with the file.

1. The file is read once; ids are numbered as they appear, triples go to disk.
2. They are scattered over spools of consecutive users, each small enough to be sorted in memory.
3. Spool by spool: duplicates, filters, splits, and the arrays in user order.
4. The training ratings are scattered and sorted once more, by item: the transposed order.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.config import Data, Split
from cofi_dist.data.ids import IdMap, digests
from cofi_dist.data.preparation.filters import k_core_filter
from cofi_dist.data.preparation.id_encoder import Encoder
from cofi_dist.data.preparation.spool import RowBatch, Spool, by_range, stable_order
from cofi_dist.data.preparation.store import FORMAT, ITEMS, MANIFEST, USERS
from cofi_dist.data.preparation.time_cutoffs import time_cutoffs
from cofi_dist.data.preparation.writers import PartWriter, fingerprint, write_transposed
from cofi_dist.data.readers.tables import is_parquet, lines_of_pair, notes_on_ids, notes_on_layout, tables
from cofi_dist.data.splits import PARTS, Part, assign_parts, held_out
from cofi_dist.errors import DataError
from cofi_dist.files.written_file import write_file
from cofi_dist.words import counted

KINDS = {"user": np.int32, "item": np.int32, "value": np.float64}


@dataclass
class Triples:
    """Ratings on disk, in spools of consecutive users.

    Attributes:
        users, items: raw ids, ascending; their places are the ratings' user and item.
        spools: of consecutive users, in order.
        exact_in_32: whether float32 holds every value.
    """

    users: pl.Series
    items: pl.Series
    spools: list[Spool]
    exact_in_32: bool = True

    def __len__(self) -> int:
        return sum(map(len, self.spools))


def prepare_file(path: Path, data: Data, directory: Path) -> None:
    """Write the prepared ratings of a file into `directory`, which exists and is empty.

    Args:
        path: the ratings file.
        data: columns, duplicates, filters, splits, centring.
        directory: temporary; whoever calls puts it in place when this returns.

    Raises:
        DataError: the file, its line and what is wrong with it; or nothing is left of it.
    """
    work = directory / "work"
    work.mkdir()
    notes: list[str] = []
    triples = _read(path, data, work, notes)
    _resolve_duplicates(path, data, triples, work, notes)
    if data.min_user_ratings > 1 or data.min_item_ratings > 1:
        _filter(path, data, triples, work, notes)
    manifest = _write_parts(path, data, triples, directory, work, notes)
    work.rmdir()
    write_file(directory / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    IdMap(triples.users).save(directory / USERS)
    IdMap(triples.items).save(directory / ITEMS)


def _read(path: Path, data: Data, work: Path, notes: list[str]) -> Triples:
    """Steps 1 and 2."""
    with_time = any(split.needs_times for split in held_out(data).values())
    kinds = {**KINDS, "time": np.float64} if with_time else KINDS
    users, items, spool = Encoder(), Encoder(), Spool(work / "read", kinds)
    for table in tables(path, data.columns, time=with_time):
        codes = {"user": users.codes(table["user"]), "item": items.codes(table["item"])}
        spool.append({**codes, **{name: table[name].to_numpy() for name in kinds if name not in codes}})
    if not len(spool):
        raise DataError(f"{path}: holds no ratings")
    (user_ids, user_rank), (item_ids, item_rank) = users.ranked(), items.ranked()
    read, of, on = (
        counted(len(spool), "rating"),
        counted(len(user_ids), "user"),
        counted(len(item_ids), "item"),
    )
    notes.append(f"read {read} of {of} on {on}")
    notes += notes_on_layout(path, data.columns) + notes_on_ids(
        path, data.columns, users.distinct, items.distinct
    )
    per_user = np.empty_like(users.counts)
    per_user[user_rank] = users.counts
    rank = {"user": user_rank, "item": item_rank}
    pieces = ({**piece, **{name: new[piece[name]] for name, new in rank.items()}} for piece in spool.pieces())
    triples = Triples(user_ids, item_ids, by_range(pieces, kinds, "user", per_user, work))
    spool.remove()
    return triples


def _rewrite(triples: Triples, work: Path, change: Callable[[RowBatch], RowBatch]) -> None:
    """Replace every spool by what `change` makes of it, in spools named after it."""
    for k, spool in enumerate(triples.spools):
        changed = spool.like(work / f"{change.__name__}{k}")
        changed.append(change(spool.whole()))
        spool.remove()
        triples.spools[k] = changed


def _resolve_duplicates(path: Path, data: Data, triples: Triples, work: Path, notes: list[str]) -> None:
    """Sort every spool by user, then item; of a pair that is there several times, leave one."""
    dropped = 0

    def sort(rows: RowBatch) -> RowBatch:
        rows = resolved(rows)
        with np.errstate(over="ignore"):
            triples.exact_in_32 &= np.array_equal(rows["value"].astype(np.float32), rows["value"])
        return rows

    def resolved(rows: RowBatch) -> RowBatch:
        nonlocal dropped
        pair = rows["user"].astype(np.int64) << 32 | rows["item"]
        if (pair[1:] < pair[:-1]).any():
            order = stable_order(rows["item"])
            order = order[stable_order(rows["user"][order])]
            rows = {name: values[order] for name, values in rows.items()}
        again = (np.diff(rows["user"]) == 0) & (np.diff(rows["item"]) == 0)
        if not again.any():
            return rows
        if data.duplicates == "error":
            first = int(np.flatnonzero(again)[0])
            raise _duplicate(path, data, triples, rows["user"][first], rows["item"][first])
        dropped += int(again.sum())
        return _one_of_each(rows, again, mean=data.duplicates == "mean")

    _rewrite(triples, work, sort)
    if data.duplicates != "error":
        kept = {"last": "the last of each pair kept", "mean": "each pair's mean kept"}[data.duplicates]
        notes.append(f"duplicates: {kept}, {counted(dropped, 'rating')} dropped")


def _one_of_each(rows: RowBatch, again: NDArray[np.bool_], *, mean: bool) -> RowBatch:
    """The last row of every run of a pair, which has the value of the last, or the mean, of the run."""
    last = np.flatnonzero(np.append(~again, True))
    kept = {name: values[last] for name, values in rows.items()}
    if mean:
        first = np.concatenate([[0], last[:-1] + 1])
        count = last - first + 1
        with np.errstate(over="ignore"):
            mean = np.add.reduceat(rows["value"], first) / count
        # where the sum is no float64, the mean still is, though not to the last bit
        of_shares = np.add.reduceat(rows["value"] / np.repeat(count, count), first)
        kept["value"] = np.where(np.isfinite(mean), mean, of_shares)
    return kept


def _duplicate(path: Path, data: Data, triples: Triples, user: int, item: int) -> DataError:
    user_id, item_id = str(triples.users[int(user)]), str(triples.items[int(item)])
    first, second = lines_of_pair(path, data.columns, user_id, item_id)
    where = "row" if is_parquet(path) else "line"
    return DataError(
        f"{path}: {where} {second}: user {user_id} rated item {item_id} on {where} {first} already;"
        " keep one of them, or set data.duplicates to last or mean"
    )


def _filter(path: Path, data: Data, triples: Triples, work: Path, notes: list[str]) -> None:
    """Drop users and items with too few ratings until none are left, and number the rest anew."""
    user_ok, item_ok, rounds = k_core_filter(
        triples.spools,
        (len(triples.users), len(triples.items)),
        (data.min_user_ratings, data.min_item_ratings),
    )
    before = len(triples)
    user_rank, item_rank = (np.cumsum(ok, dtype=np.int32) - np.int32(1) for ok in (user_ok, item_ok))

    def drop(rows: RowBatch) -> RowBatch:
        stay = user_ok[rows["user"]] & item_ok[rows["item"]]
        rows = {name: values[stay] for name, values in rows.items()}
        return {**rows, "user": user_rank[rows["user"]], "item": item_rank[rows["item"]]}

    _rewrite(triples, work, drop)
    triples.users, triples.items = triples.users.filter(user_ok), triples.items.filter(item_ok)
    limits = f"min_user_ratings {data.min_user_ratings}, min_item_ratings {data.min_item_ratings}"
    if not len(triples):
        raise DataError(f"{path}: {limits}: nothing is left; lower them")
    notes.append(
        f"{limits}: dropped {counted(int((~user_ok).sum()), 'user')},"
        f" {counted(int((~item_ok).sum()), 'item')} and {counted(before - len(triples), 'rating')}"
        f" in {counted(rounds, 'round')}"
    )


def _refuse_equal_times(path: Path, triples: Triples, splits: dict[Part, Split]) -> None:
    """Raise where a split goes by times that are all the same, as those of a filler are."""
    for part, split in splits.items():
        if not split.needs_times or len(triples) == 1:
            continue
        times = [spool.whole()["time"] for spool in triples.spools if len(spool)]
        lowest, highest = min(map(np.min, times)), max(map(np.max, times))
        if lowest == highest:
            raise DataError(
                f"{path}: data.{part}: all {len(triples):,} ratings have the same timestamp, {lowest:.15g}:"
                " none is newer than another; use by: random or leave_one_out"
            )
        return


def _why_nothing(split: Split, triples: Triples) -> str:
    """Why a split leaves its part empty, and what to do."""
    if split.by == "leave_one_out":
        return "no user has two ratings to choose from; use by: random"
    if split.by == "last":
        return f"no user has more than {split.n} ratings to choose from; lower n, or use by: random"
    if split.by == "time" and split.fraction is not None and round(split.fraction * len(triples)):
        return "too many ratings share the newest timestamp; hold out more, or use by: random"
    return "there are few ratings; hold out more"


def _write_parts(
    path: Path, data: Data, triples: Triples, directory: Path, work: Path, notes: list[str]
) -> dict[str, object]:
    """Steps 3, from the splits on, and 4; returns the manifest."""
    splits = held_out(data)
    _refuse_equal_times(path, triples, splits)
    cutoffs = time_cutoffs(triples.spools, splits)
    value_kind = np.float32 if triples.exact_in_32 else np.float64
    parts: tuple[Part, ...] = ("train", *splits)
    out = {part: PartWriter(directory, part, len(triples.users), value_kind) for part in parts}
    for spool in triples.spools:
        rows = spool.whole()
        part_N = assign_parts(rows["user"], rows["item"], splits, rows.get("time"), cutoffs)
        for part in parts:
            mine = part_N == PARTS.index(part)
            out[part].append({name: rows[name][mine] for name in KINDS})
        spool.remove()
    num_ratings = {part: writer.close() for part, writer in out.items()}
    notes += [f"{part}: {counted(count, 'rating')}" for part, count in num_ratings.items() if splits]
    if not num_ratings["train"]:
        raise DataError(f"{path}: nothing is left for training; hold out less")
    for part, split in splits.items():
        if not num_ratings[part]:
            raise DataError(f"{path}: data.{part}: holds out nothing: {_why_nothing(split, triples)}")
    lowest, highest = write_transposed(directory, len(triples.items), work)
    if lowest == highest:
        notes.append(f"every training rating is {lowest:g}: nothing can be learnt from equal ratings")
    return {
        "format": FORMAT,
        "source": str(path),
        "num_users": len(triples.users),
        "num_items": len(triples.items),
        "num_ratings": num_ratings,
        "columns": data.columns.model_dump(),
        "splits": {part: split.model_dump(exclude_none=True) for part, split in splits.items()},
        "centre": data.centre,
        "damping": data.damping,
        "lowest": lowest,
        "highest": highest,
        "ids": digests((IdMap(triples.users), IdMap(triples.items))),
        "fingerprint": fingerprint((triples.users, triples.items), directory, parts),
        "notes": notes,
    }
