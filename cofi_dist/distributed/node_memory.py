"""Sum over the ranks of one machine in memory that they share.

gloo sends every number through the kernel, which takes several times as long as the addition. Here, rank r
adds slice r of what all ranks have written:

    rank 0 writes slot 0        rank 0 adds slice 0 of both slots        s0 s1
    rank 1 writes slot 1   ->   rank 1 adds slice 1 of both slots   ->   read by both ranks

Ranks are added in order. What ranks send each other goes the same way.
"""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

# Tells the other ranks that this one has come so far; returns what waits for them.
Barrier = Callable[[], Callable[[], None]]

FOLDER = Path("/dev/shm")  # noqa: S108, it is memory, and mkstemp's files in it are private
# Bytes of a slot: the most that there is room for. Each slot full costs two waits for the other ranks.
SLOT_BYTES: Sequence[int] = (2**24, 2**23, 2**22)
# Less than that is sent in about the time that two barriers take.
LEAST_BYTES = 2**16


class NodeMemory:
    """Sum tensors in a file in memory that every rank has mapped; see the module.

    Args:
        file: has a slot for each rank, and one for the sums.
        rank: number of this rank.
        world_size: number of ranks.

    Raises:
        OSError: there is no such file on this machine.
    """

    def __init__(self, file: Path, rank: int, world_size: int) -> None:
        with file.open("r+b") as opened:
            memory = mmap.mmap(opened.fileno(), 0)
        self._slots = torch.frombuffer(memory, dtype=torch.uint8).view(world_size + 1, -1)
        self._rank, self._world_size = rank, world_size

    def all_reduce_(
        self,
        partials: Sequence[Tensor],
        start_barrier: Barrier,
        overlap: Callable[[], None] | None = None,
    ) -> None:
        """Replace every tensor by its sum over the ranks.

        Collective: all ranks call it.

        Args:
            partials: contiguous, on the CPU, of one dtype.
            start_barrier: tells the other ranks that this one has come so far; returns what waits for them.
            overlap: is called before this rank waits for the first time.
        """
        slots = self._slots.view(partials[0].dtype)
        for batch in _batches([partial.view(-1) for partial in partials], slots.shape[1]):
            sizes = [part.numel() for part in batch]
            size = sum(sizes)
            # The last sums are no longer read: every rank that is at this barrier has copied them.
            torch.cat(batch, out=slots[self._rank, :size])
            wait = start_barrier()
            if overlap is not None:
                overlap()
                overlap = None
            wait()
            mine = slice(size * self._rank // self._world_size, size * (self._rank + 1) // self._world_size)
            total = slots[self._world_size, :size]
            add_in_order(slots[: self._world_size, mine].unbind(), total[mine])
            start_barrier()()
            for part, summed in zip(batch, torch.split(total, sizes), strict=True):
                part.copy_(summed)

    def all_gather(self, part: Tensor, whole: Tensor, start_barrier: Barrier) -> None:
        """Copy every rank's part to `whole`, in rank order.

        Collective: all ranks call it.

        Args:
            part: flat, on the CPU, of the same length on all ranks.
            whole: flat, `world_size` times as long.
            start_barrier: as for `all_reduce_`.
        """
        slots, targets = self._slots.view(part.dtype), whole.view(self._world_size, -1)
        for piece in _pieces(len(part), slots.shape[1]):
            size = piece.stop - piece.start
            slots[self._rank, :size].copy_(part[piece])
            start_barrier()()
            targets[:, piece].copy_(slots[: self._world_size, :size])
            start_barrier()()

    def all_to_all(
        self,
        sent: Sequence[Tensor],
        received: Sequence[Tensor],
        longest: int,
        start_barrier: Barrier,
    ) -> None:
        """Copy to each rank what the others have for it.

        Collective: all ranks call it.

        Args:
            sent: what goes to each rank, flat, on the CPU.
            received: where what comes from each rank goes, flat.
            longest: the length of the longest part of any rank.
            start_barrier: as for `all_reduce_`.
        """
        received[self._rank].copy_(sent[self._rank])
        outgoing, incoming = self._places(sent[0].dtype)
        for piece in _pieces(longest, min(map(len, outgoing.values()))):
            for receiver, place in outgoing.items():
                part = sent[receiver][piece]
                place[: len(part)].copy_(part)
            start_barrier()()
            for sender, place in incoming.items():
                part = received[sender][piece]
                part.copy_(place[: len(part)])
            start_barrier()()

    def reduce_scatter(self, parts: Sequence[Tensor], own: Tensor, start_barrier: Barrier) -> None:
        """Sum over the ranks what all have for this one.

        Collective: all ranks call it.

        Args:
            parts: what goes to each rank, flat, on the CPU, all of one length.
            own: where the sum goes.
            start_barrier: as for `all_reduce_`.
        """
        outgoing, incoming = self._places(own.dtype)
        for piece in _pieces(len(own), min(map(len, outgoing.values()))):
            size = piece.stop - piece.start
            for receiver, place in outgoing.items():
                place[:size].copy_(parts[receiver][piece])
            start_barrier()()
            # the own part is read where it is
            terms = {sender: place[:size] for sender, place in incoming.items()}
            terms[self._rank] = parts[self._rank][piece]
            add_in_order([terms[rank] for rank in range(self._world_size)], own[piece])
            start_barrier()()

    def _places(self, dtype: torch.dtype) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return where this rank writes for each other rank, and where each other rank writes for it."""
        slots = self._slots.view(dtype)
        room = slots.shape[1] // (self._world_size - 1)

        def place(sender: int, receiver: int) -> Tensor:
            number = receiver - (receiver > sender)  # no rank writes for itself
            return slots[sender, number * room : (number + 1) * room]

        others = [rank for rank in range(self._world_size) if rank != self._rank]
        return {r: place(self._rank, r) for r in others}, {s: place(s, self._rank) for s in others}


def add_in_order(terms: Sequence[Tensor], total: Tensor) -> None:
    """Write the sum of two tensors or more, added one after the other, to `total`."""
    first, second, *others = terms
    torch.add(first, second, out=total)
    for other in others:
        total.add_(other)


def can_sum(partials: Sequence[Tensor]) -> bool:
    """Return whether `NodeMemory` can sum these tensors, and faster than messages would."""
    dtype, size = partials[0].dtype, sum(partial.nbytes for partial in partials)
    plain = (part.device.type == "cpu" and part.is_contiguous() and part.dtype == dtype for part in partials)
    return size >= LEAST_BYTES and all(plain)


def can_carry(tensor: Tensor, length: int) -> bool:
    """Return whether `NodeMemory` had better carry parts of so many numbers than messages."""
    return tensor.device.type == "cpu" and length * tensor.element_size() >= LEAST_BYTES


def create_file(world_size: int) -> str:
    """Return the path of a new file for the ranks of this machine; "" if there is no room for one."""
    if not FOLDER.is_dir() or not hasattr(os, "posix_fallocate"):
        return ""
    try:
        handle, path = tempfile.mkstemp(prefix="cofi_dist-", dir=FOLDER)
    except OSError:
        return ""
    try:
        for slot_bytes in SLOT_BYTES:
            with suppress(OSError):
                # taken now: a page that cannot be had later would kill the process
                os.posix_fallocate(handle, 0, (world_size + 1) * slot_bytes)
                return path
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)
    Path(path).unlink()
    return ""


def _pieces(length: int, room: int) -> Iterator[slice]:
    """Cut a length into ranges of at most `room` numbers."""
    for start in range(0, length, room):
        yield slice(start, min(start + room, length))


def _batches(parts: Sequence[Tensor], limit: int) -> Iterator[list[Tensor]]:
    """Group flat tensors, in order, so that each group has at most `limit` numbers; long ones are split."""
    batch: list[Tensor] = []
    room = limit
    for part in parts:
        for piece in torch.split(part, limit):
            if piece.numel() > room:
                yield batch
                batch, room = [], limit
            batch.append(piece)
            room -= piece.numel()
    yield batch
