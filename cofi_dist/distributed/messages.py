"""Encode what ranks tell each other as JSON.

Messages are never pickles, because reading a pickle runs whatever its writer wishes.
"""

import json
from collections.abc import Callable
from typing import Any

from cofi_dist.distributed.comm import Json
from cofi_dist.errors import CofiError, TrainingError, from_words, to_words

MAX_BYTES = 2**28  # per message; a rank of this package never sends a longer one


def encode(item: Json) -> bytes:
    """Encode an item as ASCII, so that file names that are not valid text arrive unchanged."""
    return json.dumps(item).encode()


def decode(message: bytes, rank: int) -> Any:
    """Return the item that a rank has sent.

    Raises:
        TrainingError: the message is not one of ours.
    """
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        raise _not_ours(rank) from None


def encode_outcome(work: Callable[[], Json]) -> bytes:
    """Call `work`, and encode its result or the CofiError that it raises."""
    try:
        return encode({"value": work()})
    except CofiError as error:
        return encode({"error": to_words(error)})


def decode_outcome(message: bytes) -> Any:
    """Return what `work` returned on rank 0.

    Raises:
        CofiError: what it raised, marked as shared.
        TrainingError: the message is not one of ours.
    """
    try:
        outcome = json.loads(message)
        error = from_words(outcome["error"]) if "error" in outcome else None
        value = None if error else outcome["value"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _not_ours(0) from None
    if error is not None:
        error.shared = True
        raise error
    return value


def require_length(length: int, rank: int) -> int:
    """Return the length that a rank announces for its message, before memory is taken for it.

    Raises:
        TrainingError: none of our messages is that long.
    """
    if not 0 < length <= MAX_BYTES:
        raise _not_ours(rank)
    return length


def _not_ours(rank: int) -> TrainingError:
    return TrainingError(
        f"rank {rank} sent what is no message of this version; start all ranks with the same cofi_dist"
    )
