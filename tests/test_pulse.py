"""Signs of life, and their absence."""

import threading
import time

import pytest

from cofi_dist import pulse
from cofi_dist.pulse import Pulse


class Words:
    """A store in this process."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}
        self.is_gone = False

    def set(self, key: str, value: str) -> None:
        if self.is_gone:
            raise RuntimeError("the host is gone")
        self.words[key] = value

    def get(self, key: str) -> bytes:
        if self.is_gone:
            raise RuntimeError("the host is gone")
        return self.words[key].encode()


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(pulse, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(pulse, "LOST_BEATS", 20)


def test_who_beats_is_not_silent_and_who_does_not_is_given_up() -> None:
    store, lost, told = Words(), list[int](), threading.Event()
    store.set("2", "frozen")

    def tell(rank: int) -> None:
        lost.append(rank)
        told.set()

    first, second = Pulse(store, 0, 3, lost.append), Pulse(store, 1, 3, tell)
    assert first.silent() == [2]
    assert told.wait(10)
    assert lost == [2], "rank 0 watches rank 1, which lives"
    for each in (first, second):
        each.stop()


def test_who_left_in_order_is_not_missed() -> None:
    store, lost = Words(), list[int]()
    first, second = (Pulse(store, rank, 2, lost.append) for rank in (0, 1))
    second.stop()
    time.sleep(0.5)
    first.stop()
    assert lost == []


def test_without_the_store_nobody_is_accused() -> None:
    store, lost = Words(), list[int]()
    first, second = (Pulse(store, rank, 2, lost.append) for rank in (0, 1))
    store.is_gone = True
    assert first.silent() == []
    time.sleep(0.5)
    for each in (first, second):
        each.stop()
    assert lost == []
