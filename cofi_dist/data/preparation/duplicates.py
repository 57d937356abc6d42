"""Resolve duplicates: several ratings of an item by the same user."""

import numpy as np
from numpy.typing import NDArray

from cofi_dist.data.preparation.spool import RowBatch, stable_order


def sort_by_pair(rows: RowBatch) -> tuple[RowBatch, NDArray[np.bool_]]:
    """Sort N rows by user, then item; rows of the same pair keep their order.

    Returns:
        The sorted rows, and whether row n + 1 repeats the pair of row n, (N - 1,).
    """
    pair = rows["user"].astype(np.int64) << 32 | rows["item"]
    if (pair[1:] < pair[:-1]).any():
        order = stable_order(rows["item"])
        order = order[stable_order(rows["user"][order])]
        rows = {name: values[order] for name, values in rows.items()}
    repeats = (np.diff(rows["user"]) == 0) & (np.diff(rows["item"]) == 0)
    return rows, repeats


def keep_one_of_each(rows: RowBatch, repeats: NDArray[np.bool_], *, mean: bool) -> RowBatch:
    """Keep one row per pair: the last one, or if `mean`, the last one with the mean of the pair's values.

    Args:
        rows: N rows, sorted by pair.
        repeats: whether row n + 1 repeats the pair of row n, (N - 1,).
        mean: whether the values of a pair are averaged.
    """
    last = np.flatnonzero(np.append(~repeats, True))
    kept = {name: values[last] for name, values in rows.items()}
    if mean:
        first = np.concatenate([[0], last[:-1] + 1])
        count = last - first + 1
        with np.errstate(over="ignore"):
            means = np.add.reduceat(rows["value"], first) / count
        # if the sum overflows float64, the mean still does not; summing shares loses its last bit only
        of_shares = np.add.reduceat(rows["value"] / np.repeat(count, count), first)
        kept["value"] = np.where(np.isfinite(means), means, of_shares)
    return kept
