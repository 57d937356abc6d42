"""Ranks that beat, fall silent, leave, or lose the store."""

import threading
import time

import pytest

from cofi_dist.distributed import heartbeat
from cofi_dist.distributed.heartbeat import Heartbeat


class LocalStore:
    """A store in this process."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.is_gone = False
        self.reachable = threading.Event()  # while it is not set, calls hang
        self.reachable.set()

    def set(self, key: str, value: str) -> None:
        self.reachable.wait()
        if self.is_gone:
            raise ConnectionError("the store has ended")
        self.values[key] = value

    def get(self, key: str) -> bytes:
        self.reachable.wait()
        if self.is_gone:
            raise ConnectionError("the store has ended")
        if key not in self.values:  # the other rank has not begun to beat; a real store raises this too
            raise RuntimeError("the key is not set")
        return self.values[key].encode()


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(heartbeat, "MAX_MISSED_BEATS", 20)


def test_who_beats_is_not_silent_and_who_does_not_is_given_up() -> None:
    store, lost, was_called = LocalStore(), list[int | None](), threading.Event()
    store.set("2", "frozen")

    def on_lost(rank: int | None) -> None:
        lost.append(rank)
        was_called.set()

    first, second = Heartbeat(store, 0, 3, lost.append), Heartbeat(store, 1, 3, on_lost)
    assert first.silent_ranks() == [2]
    assert was_called.wait(10)
    assert lost == [2], "rank 0 watches rank 1, which lives"
    for each in (first, second):
        each.stop()


def test_who_left_in_order_is_not_missed() -> None:
    store, lost = LocalStore(), list[int | None]()
    first, second = (Heartbeat(store, rank, 2, lost.append) for rank in (0, 1))
    second.stop()
    time.sleep(0.5)
    first.stop()
    assert lost == []


def test_without_the_store_nobody_is_accused() -> None:
    store, lost = LocalStore(), list[int | None]()
    first, second = (Heartbeat(store, rank, 2, lost.append) for rank in (0, 1))
    store.is_gone = True
    assert first.silent_ranks() == []
    time.sleep(0.5)
    for each in (first, second):
        each.stop()
    assert lost == []


def test_a_store_that_does_not_answer_is_given_up_as_soon_as_a_rank_would_be() -> None:
    store, lost, was_called = LocalStore(), list[int | None](), threading.Event()

    def on_lost(rank: int | None) -> None:
        lost.append(rank)
        was_called.set()

    first, second = Heartbeat(store, 0, 2, on_lost), Heartbeat(store, 1, 2, lost.append)
    time.sleep(0.1)
    store.reachable.clear()
    before = time.monotonic()
    assert first.silent_ranks() is None
    assert was_called.wait(10)
    for each in (first, second):
        each.stop()
    assert time.monotonic() - before < 10, "nothing waits for the store"
    assert set(lost) == {None}
    store.reachable.set()


def test_a_store_that_answers_again_in_time_is_not_given_up() -> None:
    store, lost = LocalStore(), list[int | None]()
    both = [Heartbeat(store, rank, 2, lost.append) for rank in range(2)]
    for _ in range(3):
        store.reachable.clear()
        time.sleep(0.1)  # half as long as it takes to be given up
        store.reachable.set()
        time.sleep(0.1)
    for each in both:
        each.stop()
    assert lost == []
