"""Sum over ranks in the order of the reduction tree, so that the bits do not depend on the ranks.

This is a reduce-scatter and an all-gather, written out because the order of additions matters. Every
tensor is cut into `world_size` slices. Rank r receives slice r of every subtree of every rank, adds them in
the order of the tree (`cofi_dist.sharding.reduction_tree`), and all ranks gather the slices:

    rank 0: subtrees a0 a1        rank 0 adds slice 0 of a, b, c -> s0        s0 s1 s2
    rank 1: subtrees b0 b1   ->   rank 1 adds slice 1 of a, b, c -> s1   ->   on every rank
    rank 2: subtrees c0 c1        rank 2 adds slice 2 of a, b, c -> s2

If the number of ranks is a power of two, each rank holds one subtree. Then as much data is moved as by
an all-reduce, and a single tensor is not copied.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.item_exchange import device_of
from cofi_dist.distributed.overlap import run_overlapped
from cofi_dist.sharding.reduction_tree import are_siblings


class TreeReducer:
    """Add the subtree sums of all ranks in the order of the tree; a `Reducer`.

    Args:
        comm: the ranks.
        subtrees: of every rank, as ranges of the blocks of all ranks, in order.
    """

    def __init__(self, comm: Comm, subtrees: Sequence[Sequence[range]]) -> None:
        self._comm, self._subtrees = comm, subtrees

    def all_reduce_(self, *partials: Tensor, overlap: Callable[[], None] | None = None) -> None:
        comm, num_subtrees = self._comm, len(self._subtrees[self._comm.rank])
        # where each tensor lies in one entry of the packed tensors
        offsets = list(accumulate((partial[0].numel() for partial in partials), initial=0))
        slice_size = -(-offsets[-1] // comm.world_size)  # rounded up
        shape = num_subtrees, comm.world_size, slice_size
        in_place = len(partials) == 1 and offsets[-1] == slice_size * comm.world_size
        flat = partials[0] if in_place else _pack(partials, shape)
        # (world_size, subtrees, slice); the same memory if there is one subtree
        parts = flat.view(shape).transpose(0, 1).contiguous()
        lengths = [len(subtrees) * slice_size for subtrees in self._subtrees]
        total = flat.view(num_subtrees, -1)[0]

        def reduce() -> None:
            received = comm.all_to_all(parts, lengths).view(-1, slice_size)
            comm.all_gather(self._add_in_tree_order(received), total)

        run_overlapped(reduce, overlap, flat.device)
        if in_place:
            return
        for partial, start, stop in zip(partials, offsets[:-1], offsets[1:], strict=True):
            partial[0].copy_(total[start:stop].view_as(partial[0]))

    def exchange(
        self,
        gathers: Sequence[tuple[Tensor, Tensor]],
        scatters: Sequence[tuple[Tensor, Tensor]],
        overlap: Callable[[], None],
    ) -> None:
        comm = self._comm

        def move() -> None:
            for part, whole in gathers:
                comm.all_gather(part.view(-1), whole.view(-1))
            for partials, own in scatters:
                size = own.numel()
                # (world_size, subtrees, slice); the same memory if there is one subtree
                parts = partials.view(len(partials), comm.world_size, size).transpose(0, 1).contiguous()
                lengths = [len(subtrees) * size for subtrees in self._subtrees]
                received = comm.all_to_all(parts, lengths).view(-1, size)
                own.copy_(self._add_in_tree_order(received).view_as(own))

        run_overlapped(move, overlap, device_of(gathers, scatters))

    def fetch(
        self,
        sent: Tensor,
        sent_counts: Sequence[int],
        received: Tensor,
        received_counts: Sequence[int],
        overlap: Callable[[], None],
    ) -> None:
        self._comm.fetch(sent, sent_counts, received, received_counts, overlap)

    def all_reduce_scalars(self, *partials: Tensor) -> tuple[Tensor, ...]:
        packed = torch.stack([partial.double() for partial in partials], 1)
        self.all_reduce_(packed)
        return packed[0].unbind()

    def _add_in_tree_order(self, sums: Tensor) -> Tensor:
        """Add the sums of all subtrees, which are in order, in place: (subtrees, slice) -> (slice,)."""
        # a stack of subtrees; as soon as its last two are siblings, they are merged into their parent
        stack: list[tuple[range, Tensor]] = []
        subtrees = [subtree for of_rank in self._subtrees for subtree in of_rank]
        for subtree, subtree_sum in zip(subtrees, sums, strict=True):
            stack.append((subtree, subtree_sum))
            while len(stack) > 1 and are_siblings(stack[-2][0], stack[-1][0]):
                (left, left_sum), (right, right_sum) = stack[-2:]
                stack[-2:] = [(range(left.start, right.stop), left_sum.add_(right_sum))]
        ((_, total),) = stack
        return total


def _pack(partials: Sequence[Tensor], shape: tuple[int, int, int]) -> Tensor:
    """Copy each subtree's tensors one after the other, followed by zeros: (subtrees, world_size * slice)."""
    packed = partials[0].new_zeros(shape).view(shape[0], -1)
    rows = [partial.reshape(shape[0], -1) for partial in partials]
    packed[:, : sum(row.shape[1] for row in rows)] = torch.cat(rows, 1)
    return packed
