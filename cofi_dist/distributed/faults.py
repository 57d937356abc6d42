"""Let all ranks raise the error of one of them, in place of each saying that it has lost another."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]

from cofi_dist.distributed.waiting import CALL_SECONDS, BoundedWait
from cofi_dist.errors import CofiError, from_words, to_words

# Keys of the store: how many ranks have failed, the error of the first one, and how many ranks have read it.
COUNT, FAULT, READERS = "faults", "fault", "fault_readers"
READ_SECONDS = 5.0  # within which the other ranks read the error of a rank that has left


class FaultBoard:
    """Publish the error of a rank to the other ranks.

    Args:
        store: shared by the ranks. Its host may be away, and a call to it may then hang, so no call is waited
            for long.
        rank: number of this rank.
        world_size: number of ranks.

    Attributes:
        found: the error that was published by a rank, if this one knows of any.
    """

    def __init__(self, store: Store, rank: int, world_size: int) -> None:
        self._store, self._rank, self._world_size = store, rank, world_size
        self.found: CofiError | None = None

    def publish(self, error: CofiError) -> CofiError:
        """Publish the error of this rank, unless another was faster; return the one that all ranks raise."""
        words = to_words(error)
        words["message"] = f"rank {self._rank}: {words['message']}"
        self.found = _from_words(words)

        def publish() -> None:
            if self._store.add(COUNT, 1) == 1:
                self._store.set(FAULT, json.dumps(words))
            else:
                self._store.wait([FAULT], timedelta(seconds=CALL_SECONDS))
                self._read()

        _within(READ_SECONDS, publish)
        return self.found

    def read(self) -> CofiError | None:
        """Return the error that a rank has published, or None."""
        _within(CALL_SECONDS, self._read)
        return self.found

    def await_readers(self) -> None:
        """Wait until the other ranks have read the error: this process may hold the store, and end."""
        wait = BoundedWait(READ_SECONDS)
        others = self._world_size - 1
        _within(READ_SECONDS, lambda: wait.until(lambda: self._store.add(READERS, 0) >= others))

    def _read(self) -> None:
        if self._store.check([FAULT]):
            self.found = _from_words(json.loads(self._store.get(FAULT)))
            self._store.add(READERS, 1)


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Call what may hang or fail, as its store may be gone; nothing of that matters any more."""
    with suppress(RuntimeError, OSError, dist.DistError, ValueError, TypeError, KeyError):
        BoundedWait(seconds).run(work)


def _from_words(words: dict[str, str]) -> CofiError:
    error = from_words(words)
    error.shared = True
    return error
