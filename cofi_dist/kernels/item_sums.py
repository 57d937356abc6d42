"""Sum over the rows of all items as they go by, block after block, where no rank holds them all.

The sums have the bits of those that `BlockSums` forms over all items at once, however the items are cut.
Those are sums of runs of rows. In the next block, a run goes on from the sum that the last one left.

K features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cofi_dist.kernels.base import Side, accumulation_dtype
from cofi_dist.kernels.block_sums import (
    RUNS,
    gram_matrices_of_runs,
    runs_of,
    squares_of_runs,
    sums_in_triton,
)
from cofi_dist.sharding.ranges import UserRange

# Rows that are added to a Gram matrix together, counted from the start of their run.
GROUP = 4


class ItemSquares:
    """Sum the squares of all items' rows.

    Args:
        num_items: of all ranks.
        columns: K, or 1 for biases.
        like: gives the device and the dtype.
    """

    def __init__(self, num_items: int, columns: int, like: Tensor) -> None:
        self._num_items, self._runs, self._done, self._dtype = num_items, runs_of(num_items), 0, like.dtype
        self._in_triton = sums_in_triton(like, fixes_order=True)
        if self._in_triton:
            from cofi_dist.kernels.cuda.rows import zero_squares  # Triton is optional

            self._sums = zero_squares(columns, like)
        else:
            self._sums = torch.zeros(RUNS, columns, dtype=accumulation_dtype(like), device=like.device)

    def add(self, rows: Tensor, weight: Tensor | None = None) -> None:
        """Add the next items' rows, (rows, columns), with their weights, (rows,)."""
        if self._in_triton:
            from cofi_dist.kernels.cuda.rows import add_squares

            add_squares(self._sums, rows, weight, first=self._done, num_items=self._num_items)
        else:
            place, runs = _within(self._runs, self._done, len(rows))
            squares_of_runs(rows, weight, runs, self._sums[place])
        self._done += len(rows)

    @property
    def total(self) -> Tensor:
        """Return sum_r weight_r |rows_r|^2, 0-dim, as `BlockSums.squares_over_items` does."""
        return self._sums.sum(0).sum()

    @property
    def columns(self) -> Tensor:
        """Return sum_r weight_r rows_rk^2, (columns,), as `BlockSums.column_squares_over_items` does."""
        return self._sums.sum(0).to(self._dtype)


class ItemGram:
    """Sum the Gram matrix of all items' rows.

    Args:
        num_items: of all ranks.
        columns: K.
        like: as for `ItemSquares`.
    """

    def __init__(self, num_items: int, columns: int, like: Tensor) -> None:
        self._num_items, self._runs, self._done, size = num_items, runs_of(num_items), 0, columns + 2
        self._in_triton = sums_in_triton(like, fixes_order=True)
        if self._in_triton:
            from cofi_dist.kernels.cuda.rows import zero_grams  # Triton is optional

            self._sums = zero_grams(columns, like)
        else:
            self._sums = torch.zeros(RUNS, size, size, dtype=accumulation_dtype(like), device=like.device)
        # the last rows so far, if others of their group are still to come
        self._waiting = Side(like.new_empty(0, columns), like.new_empty(0))

    def add(self, items: Side[Tensor]) -> None:
        """Add the next items' rows, (rows, K) and (rows,)."""
        if self._in_triton:
            from cofi_dist.kernels.cuda.rows import add_gram_matrices

            add_gram_matrices(self._sums, items, first=self._done, num_items=self._num_items)
            self._done += len(items.bias)
            return
        while len(self._waiting.bias) and len(items.bias):
            missing = GROUP - len(self._waiting.bias)
            first = _rows(items, 0, missing)
            self._add(Side(*map(torch.cat, zip(self._waiting, first, strict=True))))
            items = _rows(items, missing, len(items.bias))
        if len(items.bias):
            self._add(items)

    @property
    def total(self) -> Tensor:
        """Return sum (x, 1, c) (x, 1, c)^T, (K + 2, K + 2), as `BlockSums.gram_over_items` does.

        All items must have been added.
        """
        return self._sums.sum(0)

    def _add(self, items: Side[Tensor]) -> None:
        """Add rows of which the first begins a group; those of a group that does not end wait."""
        rows = len(items.bias)
        stop = self._done + rows
        last = next(run for run in self._runs if stop <= run.stop and len(run))
        whole = rows if stop == last.stop else rows - max(stop - last.start, 0) % GROUP
        place, runs = _within(self._runs, self._done, whole)
        gram_matrices_of_runs(items, runs, self._sums[place])
        self._done += whole
        self._waiting = Side(*(part.clone() for part in _rows(items, whole, rows)))


def _rows(items: Side[Tensor], start: int, stop: int) -> Side[Tensor]:
    return Side(items.features[start:stop], items.bias[start:stop])


def _within(runs: Sequence[UserRange], start: int, rows: int) -> tuple[slice, list[UserRange]]:
    """Return which runs have some of the rows from `start` on, and which of them, counted from `start`."""
    stop = start + rows
    place = [number for number, run in enumerate(runs) if run.start < stop and start < run.stop] or [0]
    touched = slice(place[0], place[-1] + 1)
    return touched, [
        UserRange(max(run.start - start, 0), max(min(run.stop - start, rows), 0)) for run in runs[touched]
    ]
