"""Several ranks in one process: their optimisers take a step together, and what they ask for is done."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cofi_dist.distributed.ordered_sum import TreeReducer
from cofi_dist.optim.base import Pending, PendingExchange, PendingFetch, PendingSum


class Lockstep:
    """Do what the optimisers of all ranks ask for, one after the other.

    Args:
        subtrees: of every rank, as ranges of the blocks of all ranks, in the order of the tree.
    """

    def __init__(self, subtrees: Sequence[Sequence[range]]) -> None:
        self._tree = TreeReducer(None, subtrees)  # type: ignore[arg-type]

    def run(self, of_ranks: Sequence[Iterator[Pending]]) -> None:
        """Let all ranks go on until they are done; all ask for the same kinds of things."""
        for asked in zip(*of_ranks, strict=True):
            kinds = {type(each) for each in asked}
            assert len(kinds) == 1, f"the ranks ask for different things: {kinds}"
            for each in asked:
                each.overlap()
            if isinstance(asked[0], PendingSum):
                self._sum(asked)
            elif isinstance(asked[0], PendingExchange):
                self._exchange(asked)
            else:
                self._fetch(asked)

    def sum_scalars(self, of_ranks: Sequence[Tensor]) -> Tensor:
        """Return the sum of all subtrees, (T,) each, 0-dim."""
        return self._total([each.double() for each in of_ranks])

    def _total(self, of_ranks: Sequence[Tensor]) -> Tensor:
        """Return the sum over the subtrees of all ranks, (T, ...) each."""
        return self._tree._add_in_tree_order(torch.cat(list(of_ranks)).clone())

    def _sum(self, asked: Sequence[PendingSum]) -> None:
        for tensors in zip(*(each.tensors for each in asked), strict=True):
            total = self._total(tensors)
            for tensor in tensors:
                tensor[0].copy_(total)

    def _exchange(self, asked: Sequence[PendingExchange]) -> None:
        for gathers in zip(*(each.gathers for each in asked), strict=True):
            whole = torch.cat([part for part, _ in gathers])
            for _, target in gathers:
                target.copy_(whole)
        for scatters in zip(*(each.scatters for each in asked), strict=True):
            total = self._total([partials for partials, _ in scatters])
            for (_, own), rows in zip(scatters, total.chunk(len(scatters)), strict=True):
                own.copy_(rows)

    def _fetch(self, asked: Sequence[PendingFetch]) -> None:
        sent = [torch.split(each.sent, list(each.sent_counts)) for each in asked]
        for rank, each in enumerate(asked):
            each.received.copy_(torch.cat([rows[rank] for rows in sent]))
