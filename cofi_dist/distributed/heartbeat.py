"""Signs of life: every rank leaves a new word every second, and watches the next rank's.

The store that the words are left in may be on a host that no longer answers, and whoever asks it then waits
for a quarter of an hour. So one thread talks to the store, and another one counts.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

BEAT_SECONDS = 1.0
SILENT_SECONDS = 2.5  # without a beat: no sign of life; without an answer: the store's host has none
LOST_BEATS = 30  # of one's own, without one of the other's: it is given up
GONE = "gone"


class Store(Protocol):
    """Where all ranks can leave a word.

    A store that has ended raises ConnectionError: from then on it says nothing of anybody.
    """

    def set(self, key: str, value: str) -> None: ...

    def get(self, key: str) -> bytes: ...


class Pulse:
    """Beats from now on, whatever else the process does, unless it is stopped.

    Args:
        store: shared by the ranks.
        rank: of this process.
        world_size: how many there are.
        lost: is told of a rank that is given up, or None for the store's host, in a thread of ours.
    """

    def __init__(
        self, store: Store, rank: int, world_size: int, lost: Callable[[int | None], object]
    ) -> None:
        self._store, self._rank, self._world_size, self._lost = store, rank, world_size, lost
        self._done, self._ended = threading.Event(), threading.Event()
        self._answers, self._word = 0, b""  # of the store so far; the last of them
        self._threads = [
            threading.Thread(target=work, name="pulse", daemon=True) for work in (self._talk, self._watch)
        ]
        for thread in self._threads:
            thread.start()

    def silent(self) -> list[int] | None:
        """The other ranks that leave no new word while this one waits; None: the store does not answer.

        None of them where the store has ended.
        """
        others = [rank for rank in range(self._world_size) if rank != self._rank]
        words: list[list[bytes]] = []
        thread = threading.Thread(target=self._look_twice, args=(others, words), daemon=True)
        thread.start()
        thread.join(2 * SILENT_SECONDS)
        if thread.is_alive():
            return None
        if len(words) < 2:
            return []
        return [rank for rank, a, b in zip(others, *words, strict=True) if a == b]

    def stop(self) -> None:
        """No more signs, and nobody shall miss them."""
        self._done.set()
        for thread in self._threads:
            thread.join(SILENT_SECONDS)  # one that waits for the store is left behind

    def _look_twice(self, others: list[int], words: list[list[bytes]]) -> None:
        with suppress(Exception):  # whatever the store may raise once it has ended
            words.append([self._store.get(str(rank)) for rank in others])
            time.sleep(SILENT_SECONDS)
            words.append([self._store.get(str(rank)) for rank in others])

    def _talk(self) -> None:
        following, beats = (self._rank + 1) % self._world_size, 0
        try:
            self._store.set(str(self._rank), "0")
            while not self._done.wait(BEAT_SECONDS):
                beats += 1
                # it may say late that it has waited too long; and the other may not yet have begun
                with suppress(RuntimeError):
                    self._store.set(str(self._rank), str(beats))
                    self._word = self._store.get(str(following))
                    self._answers += 1
            self._store.set(str(self._rank), GONE)
        except ConnectionError:
            self._ended.set()

    def _watch(self) -> None:
        """Count in beats of our own: a machine that slept has missed as many of them."""
        word, answers, same, unanswered = b"", 0, 0, 0
        while not self._done.wait(BEAT_SECONDS) and not self._ended.is_set():
            unanswered = 0 if self._answers > answers else unanswered + 1
            same = 0 if self._word != word or (self._word == GONE.encode() and not unanswered) else same + 1
            word, answers = self._word, self._answers
            if same == LOST_BEATS:
                of_store = unanswered > LOST_BEATS // 2  # then that says nothing of the other rank
                self._lost(None if of_store else (self._rank + 1) % self._world_size)
