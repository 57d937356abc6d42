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
from pathlib import Path

import torch
from torch import Tensor

# Tells the other ranks that this one has come so far; returns what waits for them.
Barrier = Callable[[], Callable[[], None]]

FOLDER = Path("/dev/shm")  # noqa: S108, it is memory, and mkstemp's files in it are private
SLOT_BYTES = 2**23
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
            memory = mmap.mmap(opened.fileno(), size_of_memory(world_size))
        self._slots = torch.frombuffer(memory, dtype=torch.uint8).view(world_size + 1, SLOT_BYTES)
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
            first, *others = slots[: self._world_size, mine]
            total = slots[self._world_size, :size]
            torch.add(first, others[0], out=total[mine])
            for other in others[1:]:
                total[mine].add_(other)
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
        for start in range(0, len(part), slots.shape[1]):
            piece = slice(start, min(start + slots.shape[1], len(part)))
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
        # each slot has a place for each receiver
        slots = self._slots.view(sent[0].dtype)[: self._world_size]
        room = slots.shape[1] // self._world_size
        places = slots[:, : room * self._world_size].view(self._world_size, self._world_size, room)
        for start in range(0, longest, room):
            for place, part in zip(places[self._rank], sent, strict=True):
                piece = part[start : start + room]
                place[: len(piece)].copy_(piece)
            start_barrier()()
            for place, target in zip(places[:, self._rank], received, strict=True):
                piece = target[start : start + room]
                piece.copy_(place[: len(piece)])
            start_barrier()()


def can_sum(partials: Sequence[Tensor]) -> bool:
    """Return whether `NodeMemory` can sum these tensors, and faster than messages would."""
    dtype, size = partials[0].dtype, sum(partial.nbytes for partial in partials)
    plain = (part.device.type == "cpu" and part.is_contiguous() and part.dtype == dtype for part in partials)
    return size >= LEAST_BYTES and all(plain)


def can_carry(tensor: Tensor, length: int) -> bool:
    """Return whether `NodeMemory` had better carry parts of so many numbers than messages."""
    return tensor.device.type == "cpu" and length * tensor.element_size() >= LEAST_BYTES


def size_of_memory(world_size: int) -> int:
    """Return the bytes of the file."""
    return (world_size + 1) * SLOT_BYTES


def create_file(world_size: int) -> str:
    """Return the path of a new file for the ranks of this machine; "" if there is no room for one."""
    if not FOLDER.is_dir() or not hasattr(os, "posix_fallocate"):
        return ""
    try:
        handle, path = tempfile.mkstemp(prefix="cofi_dist-", dir=FOLDER)
    except OSError:
        return ""
    try:
        # taken now: a page that cannot be had later would kill the process
        os.posix_fallocate(handle, 0, size_of_memory(world_size))
    except OSError:
        Path(path).unlink()
        return ""
    finally:
        os.close(handle)
    return path


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
