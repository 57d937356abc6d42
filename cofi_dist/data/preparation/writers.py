"""Write the arrays of prepared ratings, each in one pass. `store` lists the files."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.data.preparation.npy_file import NpyWriter
from cofi_dist.data.preparation.spool import RowBatch, spools_by_range, stable_order
from cofi_dist.data.shard import PIECE_RATINGS
from cofi_dist.data.splits import Part
from cofi_dist.files.written_file import checked_file
from cofi_dist.sharding.ranges import balanced_ranges, offsets_from_counts


class PartWriter:
    """Write the arrays of one part, in user order.

    Args:
        directory: of the prepared ratings.
        part: the part, which begins the names of its files.
        num_users: number of users of all parts together.
        value_dtype: type of the ratings.
    """

    def __init__(self, directory: Path, part: Part, num_users: int, value_dtype: type[np.floating]) -> None:
        self._counts = np.zeros(num_users, np.int64)
        self._user_start = directory / f"{part}_user_start.npy"
        self._item = NpyWriter(directory / f"{part}_item.npy", np.int32)
        self._value = NpyWriter(directory / f"{part}_value.npy", value_dtype)

    def append(self, rows: RowBatch) -> None:
        """Add ratings, of later users than those so far."""
        self._counts += np.bincount(rows["user"], minlength=len(self._counts))
        self._item.append(rows["item"])
        self._value.append(rows["value"])

    def close(self) -> int:
        """Finish the files and return the number of ratings."""
        _save(self._user_start, offsets_from_counts(self._counts))
        self._item.close()
        self._value.close()
        return int(self._counts.sum())


def write_transposed(directory: Path, num_items: int, work: Path) -> tuple[float, float]:
    """Write the training ratings in item order, then user order, and their sums and counts per item.

    Args:
        directory: the prepared ratings, which hold the training ratings in user order already.
        num_items: M.
        work: folder for spools.

    Returns:
        The lowest and the highest training rating.
    """
    value_dtype = np.load(directory / "train_value.npy", mmap_mode="r").dtype
    count = np.zeros(num_items, np.int64)
    for piece in _train_pieces(directory):
        count += np.bincount(piece["item"], minlength=num_items)
    total, lowest, highest = np.zeros(num_items), np.inf, -np.inf
    user = NpyWriter(directory / "train_user_by_item.npy", np.int32)
    value = NpyWriter(directory / "train_value_by_item.npy", value_dtype)
    dtypes = {"user": np.int32, "item": np.int32, "value": value_dtype}
    for spool in spools_by_range(_train_pieces(directory), dtypes, "item", count, work):
        rows = spool.whole()
        spool.remove()
        order = stable_order(rows["item"])  # an item's ratings stay in user order
        user.append(rows["user"][order])
        value.append(rows["value"][order])
        if len(order):
            total += np.bincount(rows["item"], rows["value"], minlength=num_items)
            lowest, highest = min(lowest, rows["value"].min()), max(highest, rows["value"].max())
    user.close()
    value.close()
    _save(directory / "train_item_start.npy", offsets_from_counts(count))
    _save(directory / "item_total.npy", total)
    _save(directory / "item_count.npy", count.astype(np.float64))
    return float(lowest), float(highest)


def _save(path: Path, array: NDArray[Any]) -> None:
    with checked_file(path) as file:
        np.save(file, array)


def _train_pieces(directory: Path) -> Iterator[RowBatch]:
    """Yield the training ratings in user order, whole users at a time."""
    offsets = np.load(directory / "train_user_start.npy")
    item, value = (np.load(directory / f"train_{what}.npy", mmap_mode="r") for what in ("item", "value"))
    counts = np.diff(offsets)
    for users in balanced_ranges(counts, max(1, round(len(item) / PIECE_RATINGS))):
        rows = slice(offsets[users.start], offsets[users.stop])
        user = np.repeat(np.arange(users.start, users.stop, dtype=np.int32), counts[users.start : users.stop])
        yield {"user": user, "item": item[rows], "value": value[rows]}


def fingerprint(ids: Sequence[pl.Series], directory: Path, parts: Sequence[Part]) -> str:
    """Return the sha256 of the ids and of every part's arrays.

    Equal content has the same fingerprint, whatever the format and the order of the file that it came from.
    """
    digest = hashlib.sha256()
    for raw in ids:
        digest.update(str(raw.dtype).encode())
        text = raw.cast(pl.String)
        digest.update(text.str.len_bytes().to_numpy().tobytes())
        digest.update("".join(text).encode())
    for part in parts:
        for what in ("user_start", "item", "value"):
            with (directory / f"{part}_{what}.npy").open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
