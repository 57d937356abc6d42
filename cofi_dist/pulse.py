"""Signs of life: every rank leaves a new word every second, and watches the next rank's."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

BEAT_SECONDS = 1.0
SILENT_SECONDS = 2.5  # without a beat: no sign of life
LOST_BEATS = 30  # of one's own, without one of the other's: it is given up
GONE = "gone"


class Store(Protocol):
    """Where all ranks can leave a word."""

    def set(self, key: str, value: str) -> None: ...

    def get(self, key: str) -> bytes: ...


class Pulse:
    """Beats from now on, whatever else the process does, unless it is stopped.

    Args:
        store: shared by the ranks.
        rank: of this process.
        world_size: how many there are.
        lost: is told of a rank that is given up, in a thread of ours.
    """

    def __init__(self, store: Store, rank: int, world_size: int, lost: Callable[[int], object]) -> None:
        self._store, self._rank, self._world_size, self._lost = store, rank, world_size, lost
        self._done = threading.Event()
        store.set(str(rank), "0")
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)
        self._thread.start()

    def silent(self) -> list[int]:
        """The other ranks that leave no new word while this one waits; none where that can't be told."""
        others = [rank for rank in range(self._world_size) if rank != self._rank]
        with suppress(Exception):  # whatever the store may raise once its host is gone
            before = [self._store.get(str(rank)) for rank in others]
            time.sleep(SILENT_SECONDS)
            after = [self._store.get(str(rank)) for rank in others]
            return [rank for rank, a, b in zip(others, before, after, strict=True) if a == b]
        return []

    def stop(self) -> None:
        """No more signs, and nobody shall miss them."""
        self._done.set()
        self._thread.join()
        with suppress(Exception):
            self._store.set(str(self._rank), GONE)

    def _beat(self) -> None:
        following, word, beats, same = (self._rank + 1) % self._world_size, b"", 0, 0
        while not self._done.wait(BEAT_SECONDS):
            beats, said = beats + 1, GONE.encode()
            with suppress(Exception):  # the store's host is gone, or the other has not yet begun
                self._store.set(str(self._rank), str(beats))
                said = self._store.get(str(following))
            same = same + 1 if said == word != GONE.encode() else 0
            word = said
            # counted in beats of our own: a machine that slept has missed as many of them
            if same == LOST_BEATS:
                self._lost(following)
