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
    user, item = rows["user"], rows["item"]
    pair = user.astype(np.int64)
    pair -= user.min(initial=np.iinfo(np.int32).max)
    pair <<= int(item.max(initial=0)).bit_length()
    pair |= item
    if (pair[1:] < pair[:-1]).any():
        order = stable_order(pair)
        rows, pair = {name: values[order] for name, values in rows.items()}, pair[order]
    return rows, pair[1:] == pair[:-1]


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
    value = rows["value"].astype(np.float64, copy=False)
    if policy == "sum":
        kept["value"] = np.add.reduceat(value, first)
    elif policy == "mean" and "weight" in rows:
        weight = rows["weight"].astype(np.float64, copy=False)
        kept["weight"] = np.add.reduceat(weight, first)
        shares = weight / np.repeat(kept["weight"], last - first + 1)
        kept["value"] = np.add.reduceat(value * shares, first)
    elif policy == "mean":
        count = last - first + 1
        with np.errstate(over="ignore"):
            means = np.add.reduceat(value, first) / count
        # if the sum overflows float64, the mean still does not; summing shares loses its last bit only
        of_shares = np.add.reduceat(value / np.repeat(count, count), first)
        kept["value"] = np.where(np.isfinite(means), means, of_shares)
    return kept
