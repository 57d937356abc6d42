"""Move rows of items between their owners and all ranks, where no rank holds them all.

gloo has no reduce-scatter: each owner adds what all ranks have sent it, in their order, which sends as much.
Ranks of one machine read what they need in memory that they share.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch
import torch.distributed as dist
from torch import Tensor

from cofi_dist.distributed.byte_messages import ALL_GATHER
from cofi_dist.distributed.node_memory import NodeMemory, add_in_order, can_carry
from cofi_dist.distributed.overlap import run_overlapped
from cofi_dist.distributed.pieces import swap

# its name from torch 2.13 on, and its name before
REDUCE_SCATTER = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class ItemExchange:
    """Implement those collectives of a `Comm` that send rows to their owners and back."""

    rank: int
    world_size: int

    def _peer_errors(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def _carried(
        self, *tensors: Tensor, are_read: bool = True, are_written: bool = True
    ) -> AbstractContextManager[Sequence[Tensor]]:
        raise NotImplementedError

    def _shared_memory(self) -> NodeMemory | None:
        raise NotImplementedError

    def _start_barrier(self) -> Callable[[], None]:
        raise NotImplementedError

    def max_over_ranks(self, *numbers: int) -> tuple[int, ...]:
        raise NotImplementedError

    def all_to_all(
        self, parts: Tensor, lengths: Sequence[int], sent_lengths: Sequence[int] | None = None
    ) -> Tensor:
        received = parts.new_empty(sum(lengths))
        # the longest part of any rank, which all ranks have to know
        longest = max(lengths)
        if sent_lengths is None:
            sent_lengths = [parts[0].numel()] * self.world_size
        else:
            (longest,) = self.max_over_ranks(max(longest, *sent_lengths))
        with (
            self._carried(parts, are_written=False) as (sent,),
            self._carried(received, are_read=False) as (arrived,),
            self._peer_errors(),
        ):
            to_ranks = torch.split(sent.view(-1), list(sent_lengths))
            from_ranks = torch.split(arrived, list(lengths))
            if can_carry(sent, longest) and (memory := self._shared_memory()) is not None:
                memory.all_to_all(to_ranks, from_ranks, longest, self._start_barrier)
            elif sent.device.type == "cpu":
                from_ranks[self.rank].copy_(to_ranks[self.rank])
                swap(to_ranks, from_ranks, self.rank)
            else:
                dist.all_to_all_single(arrived, sent.view(-1), list(lengths), list(sent_lengths))
        return received

    def all_gather(self, part: Tensor, whole: Tensor) -> None:
        with (
            self._carried(part, are_written=False) as (sent,),
            self._carried(whole, are_read=False) as (arrived,),
            self._peer_errors(),
        ):
            if can_carry(sent, len(sent)) and (memory := self._shared_memory()) is not None:
                memory.all_gather(sent, arrived, self._start_barrier)
            elif sent.device.type == "cpu":
                slices = torch.split(arrived, len(sent))
                slices[self.rank].copy_(sent)
                swap([sent] * self.world_size, slices, self.rank)
            else:
                ALL_GATHER(arrived, sent)

    def exchange(
        self,
        gathers: Sequence[tuple[Tensor, Tensor]],
        scatters: Sequence[tuple[Tensor, Tensor]],
        overlap: Callable[[], None],
    ) -> None:
        def move() -> None:
            for part, whole in gathers:
                self.all_gather(part.view(-1), whole.view(-1))
            for partials, own in scatters:
                self._reduce_scatter(partials.view(self.world_size, -1), own.view(-1))

        run_overlapped(move, overlap, device_of(gathers, scatters))

    def _reduce_scatter(self, parts: Tensor, own: Tensor) -> None:
        """Sum over the ranks, in their order, what all of them have for this one."""
        with (
            self._carried(parts, are_written=False) as (sent,),
            self._carried(own, are_read=False) as (total,),
            self._peer_errors(),
        ):
            if sent.device.type != "cpu":
                REDUCE_SCATTER(total, sent.view(-1))
            elif can_carry(sent, len(total)) and (memory := self._shared_memory()) is not None:
                memory.reduce_scatter(sent.unbind(), total, self._start_barrier)
            else:
                terms = list(torch.empty_like(sent).unbind())
                terms[self.rank] = sent[self.rank]
                swap(sent.unbind(), terms, self.rank)
                add_in_order(terms, total)

    def fetch(
        self,
        sent: Tensor,
        sent_counts: Sequence[int],
        received: Tensor,
        received_counts: Sequence[int],
        overlap: Callable[[], None],
    ) -> None:
        width = math.prod(received.shape[1:])

        def move() -> None:
            lengths, sent_lengths = (
                [count * width for count in counts] for counts in (received_counts, sent_counts)
            )
            received.view(-1).copy_(self.all_to_all(sent, lengths, sent_lengths))

        run_overlapped(move, overlap, sent.device)


def device_of(
    gathers: Sequence[tuple[Tensor, Tensor]], scatters: Sequence[tuple[Tensor, Tensor]]
) -> torch.device:
    """Return where the tensors of an exchange lie."""
    return next((part.device for part, _ in (*gathers, *scatters)), torch.device("cpu"))
