"""Sums over the branches of all ranks in the order of the tree over blocks (`cofi_dist.sharding`).

Each rank adds up a slice of every tensor, to which all others send their branches of it, and all gather
the slices. On a power of two of ranks, each of which has one branch, that moves what an all-reduce does, and
copies nothing.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from threading import Thread
from typing import Protocol

import torch
from torch import Tensor

from cofi_dist.distributed.comm import GroupComm


class Sums(Protocol):
    """Replaces partial sums, of T branches each, by what all branches of all ranks add up to."""

    def sum_(self, *partials: Tensor, meanwhile: Callable[[], None] | None = None) -> None:
        """The first branch of each tensor, (T, ...), becomes the sum; the others are as they were.

        `meanwhile` is called while sums are under way, and touches none of them.
        """
        ...

    def sum_scalars(self, *partials: Tensor) -> tuple[Tensor, ...]:
        """Of tensors (T,), 0-dim, in float64."""
        ...


class OrderedSums:
    """The same bits whatever the ranks, if their branches are.

    Args:
        comm: the ranks.
        branches: every rank's: the blocks of each, from the first rank's first on.
    """

    def __init__(self, comm: GroupComm, branches: Sequence[Sequence[range]]) -> None:
        self._comm, self._branches = comm, branches

    def sum_(self, *partials: Tensor, meanwhile: Callable[[], None] | None = None) -> None:
        comm, own = self._comm, self._branches[self._comm.rank]
        ends = list(accumulate((partial[0].numel() for partial in partials), initial=0))
        size = -(-ends[-1] // comm.world_size)
        shape = len(own), comm.world_size, size
        alone = len(partials) == 1 and ends[-1] == size * comm.world_size
        flat = partials[0] if alone else self._packed(partials, shape)
        parts = flat.view(shape).transpose(0, 1).contiguous()  # the same memory where there is one branch
        lengths = [len(branches) * size for branches in self._branches]
        whole = flat.view(len(own), -1)[0]

        def add_up() -> None:
            comm.collect(self._tree(comm.exchange(parts, lengths).view(-1, size)), whole)

        _beside(add_up, meanwhile)
        if alone:
            return
        for partial, start, stop in zip(partials, ends[:-1], ends[1:], strict=True):
            partial[0].copy_(whole[start:stop].view_as(partial[0]))

    @staticmethod
    def _packed(partials: Sequence[Tensor], shape: tuple[int, int, int]) -> Tensor:
        """Each branch's tensors one after the other, and zeros to the end."""
        packed = partials[0].new_zeros(shape).view(shape[0], -1)
        rows = [partial.reshape(shape[0], -1) for partial in partials]
        packed[:, : sum(row.shape[1] for row in rows)] = torch.cat(rows, 1)
        return packed

    def sum_scalars(self, *partials: Tensor) -> tuple[Tensor, ...]:
        packed = torch.stack([partial.double() for partial in partials], 1)
        self.sum_(packed)
        return packed[0].unbind()

    def _tree(self, came: Tensor) -> Tensor:
        """The sum of all branches, which are in order; overwrites them."""
        waiting: list[tuple[range, Tensor]] = []
        runs = [run for branches in self._branches for run in branches]
        for run, sums in zip(runs, came, strict=True):
            waiting.append((run, sums))
            while len(waiting) > 1 and _are_one(waiting[-2][0], waiting[-1][0]):
                (before, left), (after, right) = waiting[-2:]
                waiting[-2:] = [(range(before.start, after.stop), left.add_(right))]
        ((_, whole),) = waiting
        return whole


def _beside(work: Callable[[], None], meanwhile: Callable[[], None] | None) -> None:
    """Both at once; `work`, which waits for other ranks, by a thread of its own."""
    if meanwhile is None:
        work()
        return
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=attempt, daemon=True)
    thread.start()
    meanwhile()
    thread.join()
    if failed:
        raise failed[0]


def _are_one(left: range, right: range) -> bool:
    """Whether two neighbours are the halves of a branch."""
    return len(left) == len(right) and left.start % (2 * len(left)) == 0
