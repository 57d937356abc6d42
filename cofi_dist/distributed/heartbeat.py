"""Detect ranks that no longer answer: every rank counts up in a shared store, and watches the next rank.

The store may lie on a host that no longer answers, and a call to it can then hang for a quarter of an hour.
So one thread talks to the store and another one counts missed beats.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

BEAT_SECONDS = 1.0
# A rank without a new beat for this long is silent. If the store does not answer for this long, its host is.
SILENT_SECONDS = 2.5
MAX_MISSED_BEATS = 30  # counted in beats of our own; then the other rank is given up
GONE = "gone"


class Store(Protocol):
    """Hold one value per rank, for all ranks to read.

    Both methods raise ConnectionError if the store has ended, after which nothing is known of any rank.
    """

    def set(self, key: str, value: str) -> None: ...

    def get(self, key: str) -> bytes: ...


class Heartbeat:
    """Beat from construction until `stop`, whatever else the process does.

    Args:
        store: shared by the ranks.
        rank: number of this rank.
        world_size: number of ranks.
        on_lost: is called with a rank that is given up, or with None if it is the store's host that does
            not answer; from a thread of this object.
    """

    def __init__(
        self, store: Store, rank: int, world_size: int, on_lost: Callable[[int | None], object]
    ) -> None:
        self._store, self._rank, self._world_size, self._on_lost = store, rank, world_size, on_lost
        self._done, self._store_ended = threading.Event(), threading.Event()
        self._num_answers, self._last_beat = 0, b""  # of the store so far; of the next rank
        self._threads = [
            threading.Thread(target=work, name="heartbeat", daemon=True) for work in (self._beat, self._watch)
        ]
        for thread in self._threads:
            thread.start()

    def silent_ranks(self) -> list[int] | None:
        """Wait for a few beats, and return the other ranks that have none.

        Returns:
            The silent ranks. None if the store does not answer; no rank if the store has ended.
        """
        others = [rank for rank in range(self._world_size) if rank != self._rank]
        looks: list[list[bytes]] = []
        thread = threading.Thread(target=self._look_twice, args=(others, looks), daemon=True)
        thread.start()
        thread.join(2 * SILENT_SECONDS)
        if thread.is_alive():
            return None
        if len(looks) < 2:
            return []
        return [rank for rank, before, after in zip(others, *looks, strict=True) if before == after]

    def stop(self) -> None:
        """Stop beating, and tell the rank that watches this one not to miss it."""
        self._done.set()
        for thread in self._threads:
            thread.join(SILENT_SECONDS)  # a thread that waits for the store is left behind

    def _look_twice(self, others: list[int], looks: list[list[bytes]]) -> None:
        with suppress(Exception):  # whatever the store may raise once it has ended
            looks.append([self._store.get(str(rank)) for rank in others])
            time.sleep(SILENT_SECONDS)
            looks.append([self._store.get(str(rank)) for rank in others])

    def _beat(self) -> None:
        next_rank, beats = (self._rank + 1) % self._world_size, 0
        try:
            self._store.set(str(self._rank), "0")
            while not self._done.wait(BEAT_SECONDS):
                beats += 1
                # the store may raise after a long wait, and the next rank may not have started to beat
                with suppress(RuntimeError):
                    self._store.set(str(self._rank), str(beats))
                    self._last_beat = self._store.get(str(next_rank))
                    self._num_answers += 1
            self._store.set(str(self._rank), GONE)
        except ConnectionError:
            self._store_ended.set()

    def _watch(self) -> None:
        """Count the next rank's missed beats in beats of our own: a machine that slept missed as many."""
        last_beat, num_answers, missed, unanswered = b"", 0, 0, 0
        while not self._done.wait(BEAT_SECONDS) and not self._store_ended.is_set():
            unanswered = 0 if self._num_answers > num_answers else unanswered + 1
            has_left = self._last_beat == GONE.encode() and not unanswered
            missed = 0 if self._last_beat != last_beat or has_left else missed + 1
            last_beat, num_answers = self._last_beat, self._num_answers
            if missed == MAX_MISSED_BEATS:
                # if the store has not answered, its silence says nothing of the next rank
                is_store = unanswered > MAX_MISSED_BEATS // 2
                self._on_lost(None if is_store else (self._rank + 1) % self._world_size)
