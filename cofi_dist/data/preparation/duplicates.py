"""Resolve duplicates: several ratings of an item by the same user."""

from typing import Literal

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


def keep_one_of_each(
    rows: RowBatch, repeats: NDArray[np.bool_], policy: Literal["last", "mean", "sum"]
) -> RowBatch:
    """Keep the last row of each pair, with the mean or the sum of the pair's values if the policy says so.

    A mean is weighted if the rows have weights, and its weight is their sum.

    Args:
        rows: N rows, sorted by pair.
        repeats: whether row n + 1 repeats the pair of row n, (N - 1,).
        policy: what is kept.
    """
    last = np.flatnonzero(np.append(~repeats, True))
    kept = {name: values[last] for name, values in rows.items()}
    first = np.concatenate([[0], last[:-1] + 1])
    if policy == "sum":
        kept["value"] = np.add.reduceat(rows["value"], first)
    elif policy == "mean" and "weight" in rows:
        kept["weight"] = np.add.reduceat(rows["weight"], first)
        shares = rows["weight"] / np.repeat(kept["weight"], last - first + 1)
        kept["value"] = np.add.reduceat(rows["value"] * shares, first)
    elif policy == "mean":
        count = last - first + 1
        with np.errstate(over="ignore"):
            means = np.add.reduceat(rows["value"], first) / count
        # if the sum overflows float64, the mean still does not; summing shares loses its last bit only
        of_shares = np.add.reduceat(rows["value"] / np.repeat(count, count), first)
        kept["value"] = np.where(np.isfinite(means), means, of_shares)
    return kept
