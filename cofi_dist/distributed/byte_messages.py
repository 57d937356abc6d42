"""Send messages of any length as tensors of bytes."""

import torch
import torch.distributed as dist
from torch import Tensor

from cofi_dist.distributed.messages import require_length

# its name from torch 2.13 on, and its name before
ALL_GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


def broadcast_bytes(message: bytes | None) -> bytes:
    """Return rank 0's message on every rank; the other ranks pass None. Collective."""
    length = torch.tensor([0 if message is None else len(message)])
    dist.broadcast(length, src=0)
    size = require_length(int(length), 0)
    buffer = torch.empty(size, dtype=torch.uint8) if message is None else _byte_tensor(message)
    dist.broadcast(buffer, src=0)
    return message if message is not None else buffer.numpy().tobytes()


def all_gather_bytes(message: bytes, world_size: int) -> list[bytes]:
    """Return every rank's message, in rank order. Collective."""
    own = _byte_tensor(message)
    lengths = torch.empty(world_size, dtype=torch.int64)
    ALL_GATHER(lengths, torch.tensor([len(own)]))
    sizes = [require_length(length, rank) for rank, length in enumerate(lengths.tolist())]
    # all messages are padded to the longest
    longest = max(sizes)
    padded = torch.empty(world_size * longest, dtype=torch.uint8)
    ALL_GATHER(padded, torch.cat([own, own.new_zeros(longest - len(own))]))
    rows = padded.view(world_size, -1)
    return [row[:size].numpy().tobytes() for row, size in zip(rows, sizes, strict=True)]


def _byte_tensor(message: bytes) -> Tensor:
    return torch.frombuffer(bytearray(message), dtype=torch.uint8)
