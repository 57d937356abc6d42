"""What ranks tell each other in words: JSON, sent as the bytes of a tensor.

Never pickles: who reads one runs whatever its writer wishes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from cofi_dist.errors import CofiError, TrainingError, from_words, to_words

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
MOST_BYTES = 2**28  # of one message; a longer one is none of ours
# its name from torch 2.13 on, and before
ALL_GATHER = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


def outcome_of(work: Callable[[], Json]) -> bytes:
    """What `work` returns, or the CofiError that it raises, in words."""
    try:
        return _bytes({"value": work()})
    except CofiError as error:
        return _bytes({"error": to_words(error)})


def result_of(said: bytes) -> Any:
    """What another rank's `work` returned.

    Raises:
        CofiError: what it raised, marked as shared.
        TrainingError: it is no message of ours.
    """
    try:
        outcome = json.loads(said)
        error = from_words(outcome["error"]) if "error" in outcome else None
        value = None if error else outcome["value"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _strange(0) from None
    if error is not None:
        error.shared = True
        raise error
    return value


def broadcast(said: bytes | None) -> bytes:
    """What rank 0 says, on every rank; the others say None. Collective."""
    length = torch.tensor([0 if said is None else len(said)])
    dist.broadcast(length, src=0)
    size = _checked(int(length), 0)
    message = torch.empty(size, dtype=torch.uint8) if said is None else _tensor(said)
    dist.broadcast(message, src=0)
    return said if said is not None else message.numpy().tobytes()


def all_gather(item: Json, world_size: int) -> list[Any]:
    """Every rank's item, in rank order. Collective.

    Raises:
        TrainingError: what a rank sent is no message of ours.
    """
    mine = _tensor(_bytes(item))
    lengths = torch.empty(world_size, dtype=torch.int64)
    ALL_GATHER(lengths, torch.tensor([len(mine)]))
    sizes = [_checked(size, rank) for rank, size in enumerate(lengths.tolist())]
    longest = max(sizes)
    messages = torch.empty(world_size * longest, dtype=torch.uint8)
    ALL_GATHER(messages, torch.cat([mine, mine.new_zeros(longest - len(mine))]))
    items = []
    for rank, (size, message) in enumerate(zip(sizes, messages.view(world_size, -1), strict=True)):
        try:
            items.append(json.loads(message[:size].numpy().tobytes()))
        except (ValueError, RecursionError):
            raise _strange(rank) from None
    return items


def _bytes(item: Json) -> bytes:
    """In ASCII, so that file names that are no text arrive as they are."""
    return json.dumps(item).encode()


def _tensor(said: bytes) -> Tensor:
    return torch.frombuffer(bytearray(said), dtype=torch.uint8)


def _checked(size: int, rank: int) -> int:
    if not 0 < size <= MOST_BYTES:
        raise _strange(rank)
    return size


def _strange(rank: int) -> TrainingError:
    return TrainingError(
        f"rank {rank} sent what is no message of this version; start all ranks with the same cofi_dist"
    )
