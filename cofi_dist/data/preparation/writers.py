"""Write the arrays of prepared ratings, each in one pass. `store` lists the files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cofi_dist.data.preparation.job import OnStep, counted_rows, say_nothing
from cofi_dist.data.preparation.npy_file import NpyWriter
from cofi_dist.data.preparation.spool import RowBatch, Spool, spools_by_range, stable_order
from cofi_dist.data.shard import PIECE_RATINGS
from cofi_dist.data.splits import Part
from cofi_dist.files.written_file import checked_file
from cofi_dist.sharding.ranges import balanced_ranges, offsets_from_counts
from cofi_dist.system.threads import ahead


class PartWriters:
    """Write the arrays of all parts, in user order; the end of a `with` closes what is not finished.

    Args:
        directory: of the prepared ratings.
        parts: the parts.
        num_users: number of users of all parts together.
        dtypes: types of the values, and of the weights if there are any. One that is float32 becomes float64,
            in all parts, as soon as float32 does not hold all of the column exactly.
    """

    def __init__(
        self, directory: Path, parts: Sequence[Part], num_users: int, dtypes: dict[str, type[np.floating]]
    ) -> None:
        self._dtypes = dict(dtypes)
        self._writers = {part: _PartWriter(directory, part, num_users, dtypes) for part in parts}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            for column in writer.columns.values():
                column.close()

    def append(self, rows_of: Mapping[Part, RowBatch]) -> None:
        """Add ratings of some parts, of later users than those so far."""
        for name, dtype in self._dtypes.items():
            if dtype == np.float32 and not all(fits_float32(rows[name]) for rows in rows_of.values()):
                self._dtypes[name] = np.float64
                for writer in self._writers.values():
                    writer.columns[name].widen(np.float64)
        for part, rows in rows_of.items():
            self._writers[part].append(rows)

    def finish(self) -> dict[Part, int]:
        """Finish the files and return each part's number of ratings; weights that are all 1 are not kept."""
        return {part: writer.finish() for part, writer in self._writers.items()}


class _PartWriter:
    """Write the arrays of one part, whose name begins theirs."""

    def __init__(
        self, directory: Path, part: Part, num_users: int, dtypes: dict[str, type[np.floating]]
    ) -> None:
        self._counts = np.zeros(num_users, np.int64)
        self._user_start, self._weight = (
            directory / f"{part}_{what}.npy" for what in ("user_start", "weight")
        )
        self.columns = {
            name: NpyWriter(directory / f"{part}_{name}.npy", dtype)
            for name, dtype in {"item": np.int32, **dtypes}.items()
        }
        self._weights_are_one = True

    def append(self, rows: RowBatch) -> None:
        self._counts += np.bincount(rows["user"], minlength=len(self._counts))
        for name, writer in self.columns.items():
            writer.append(rows[name])
        if "weight" in self.columns:
            self._weights_are_one &= bool((rows["weight"] == 1).all())

    def finish(self) -> int:
        _save(self._user_start, offsets_from_counts(self._counts))
        for writer in self.columns.values():
            writer.finish()
        if "weight" in self.columns and self._weights_are_one:
            self._weight.unlink()
        return int(self._counts.sum())


def fits_float32(values: NDArray[np.floating]) -> bool:
    """Tell whether float32 holds all values exactly."""
    with np.errstate(over="ignore", under="ignore"):
        return values.dtype == np.float32 or np.array_equal(values.astype(np.float32), values)


def write_transposed(
    directory: Path, num_items: int, work: Path, on_step: OnStep = say_nothing
) -> tuple[float, float]:
    """Write the training ratings in item order, then user order, and their sums per item.

    Args:
        directory: the prepared ratings, which hold the training ratings in user order already.
        num_items: M.
        work: folder for spools.
        on_step: learns how far it has come.

    Returns:
        The lowest and the highest training rating.
    """
    columns = _train_columns(directory)
    count = np.zeros(num_items, np.int64)
    for start in range(0, len(columns["item"]), PIECE_RATINGS):
        count += np.bincount(columns["item"][start : start + PIECE_RATINGS], minlength=num_items)
    total, weight, lowest, highest = np.zeros(num_items), np.zeros(num_items), np.inf, -np.inf
    by_item = {name: array.dtype for name, array in columns.items() if name != "item"}
    writers = {
        name: NpyWriter(directory / f"train_{name}_by_item.npy", dtype)
        for name, dtype in {"user": np.int32, **by_item}.items()
    }
    dtypes = {"user": np.int32, "item": np.int32, **by_item}
    num_ratings = len(columns["item"])
    pieces = counted_rows(_train_pieces(directory), "grouping by item", num_ratings, on_step)
    spools = spools_by_range(pieces, dtypes, "item", count, work)
    for rows in counted_rows(ahead(_by_item, spools), "sorting by item", num_ratings, on_step):
        for name, writer in writers.items():
            writer.append(rows[name])
        if len(rows["item"]):
            values = rows["value"]
            lowest, highest = min(lowest, values.min()), max(highest, values.max())
            if "weight" in rows:
                weight += np.bincount(rows["item"], rows["weight"], minlength=num_items)
                with np.errstate(over="ignore"):  # what is not finite is refused later
                    values = rows["weight"].astype(np.float64) * values
            total += np.bincount(rows["item"], values, minlength=num_items)
    for writer in writers.values():
        writer.finish()
    _save(directory / "train_item_start.npy", offsets_from_counts(count))
    _save(directory / "item_total.npy", total)
    _save(directory / "item_count.npy", count.astype(np.float64))
    if "weight" in columns:
        _save(directory / "item_weight.npy", weight)
    return float(lowest), float(highest)


def _by_item(spool: Spool) -> RowBatch:
    """Take the ratings out of a spool, sorted by item; an item's ratings stay in user order."""
    rows = spool.whole()
    spool.remove()
    order = stable_order(rows["item"])
    return {name: values[order] for name, values in rows.items()}


def _train_columns(directory: Path) -> dict[str, NDArray[Any]]:
    """Map the training ratings in user order: item, value, and weight if there are weights."""
    files = {name: directory / f"train_{name}.npy" for name in ("item", "value", "weight")}
    return {name: np.load(file, mmap_mode="r") for name, file in files.items() if file.exists()}


def _save(path: Path, array: NDArray[Any]) -> None:
    with checked_file(path) as file:
        np.save(file, array)


def _train_pieces(directory: Path) -> Iterator[RowBatch]:
    """Yield the training ratings in user order, whole users at a time."""
    offsets = np.load(directory / "train_user_start.npy")
    columns, counts = _train_columns(directory), np.diff(offsets)
    for users in balanced_ranges(counts, max(1, round(len(columns["item"]) / PIECE_RATINGS))):
        rows = slice(offsets[users.start], offsets[users.stop])
        user = np.repeat(np.arange(users.start, users.stop, dtype=np.int32), counts[users.start : users.stop])
        yield {"user": user, **{name: values[rows] for name, values in columns.items()}}


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
            digest.update(_file_digest(directory / f"{part}_{what}.npy"))
        weights = directory / f"{part}_weight.npy"
        if weights.exists():  # else nothing, so that ratings without weights keep their fingerprint
            digest.update(b"weight" + _file_digest(weights))
    return f"sha256:{digest.hexdigest()}"


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def overflowing_item(directory: Path) -> int | None:
    """Return the first item whose training ratings sum to more than float64 holds; None if there is none."""
    overflows = np.flatnonzero(~np.isfinite(np.load(directory / "item_total.npy")))
    return int(overflows[0]) if len(overflows) else None
