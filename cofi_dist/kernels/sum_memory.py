"""Let the sums over one block of items after another share memory.

K features, T subtrees of this rank's users (`cofi_dist.sharding.reduction_tree`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cofi_dist.kernels.base import Side


class SumMemory:
    """Hold the sums over the ratings of a block of items, and those of the next block.

    The sums of one are on their way to the items' owners while the next are formed. All memory is allocated
    when it is first needed.

    Args:
        subtrees: T.
        most_rows: rows of the largest block.
    """

    def __init__(self, subtrees: int, most_rows: int) -> None:
        self._subtrees, self._most_rows = subtrees, most_rows
        self._halves: dict[int, Side[Tensor]] = {}
        self._waiting: Side[Tensor] | None = None
        self._errors = torch.empty(0, dtype=torch.float64)

    def place(self, rows: int, half: int = 0) -> "SumPlace":
        """Return a place for the sums of a block with so many rows; those of other halves stay."""
        return SumPlace(self, rows, half)

    def sums(self, rows: int, half: int, like: Tensor) -> Side[Tensor]:
        """Return memory for sums of each subtree, (T, rows, K) and (T, rows), contiguous."""
        T, K = self._subtrees, like.shape[1]
        if half not in self._halves:
            most = T * self._most_rows
            self._halves[half] = Side(like.new_empty(most, K), like.new_empty(most))
        features, bias = self._halves[half]
        return Side(features[: T * rows].view(T, rows, K), bias[: T * rows].view(T, rows))

    def waiting(self, rows: int, like: Tensor) -> Side[Tensor]:
        """Return memory for sums that wait to be merged, (rows, K) and (rows,), the same at every call."""
        if self._waiting is None or len(self._waiting.bias) < rows:
            self._waiting = Side(like.new_empty(rows, like.shape[1]), like.new_empty(rows))
        return Side(self._waiting.features[:rows], self._waiting.bias[:rows])

    def half_squared_errors(self, blocks: int, rows: int) -> Tensor:
        """Return memory for those of each block of users, (B, rows) float64, the same at every call."""
        if self._errors.numel() < blocks * rows:
            self._errors = torch.empty(blocks * self._most_rows, dtype=torch.float64)
        return self._errors[: blocks * rows].view(blocks, rows)


@dataclass(frozen=True)
class SumPlace:
    """Name the part of a `SumMemory` that the sums of a block take.

    Attributes:
        memory: the memory.
        rows: rows of the block.
        half: which half of it.
    """

    memory: SumMemory
    rows: int
    half: int

    def sums(self, like: Tensor) -> Side[Tensor]:
        """Return memory for sums of each subtree, (T, rows, K) and (T, rows), contiguous."""
        return self.memory.sums(self.rows, self.half, like)

    def waiting(self, rows: int, like: Tensor) -> Side[Tensor]:
        """Return memory for sums that wait to be merged, (rows, K) and (rows,)."""
        return self.memory.waiting(rows, like)

    def half_squared_errors(self, blocks: int, rows: int) -> Tensor:
        """Return memory for those of each block of users, (B, rows) float64."""
        return self.memory.half_squared_errors(blocks, rows)
