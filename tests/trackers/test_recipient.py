"""Reports are handed over in their order, and no recipient holds up who reports."""

import threading
import time
from collections import deque
from collections.abc import Sequence

import pytest

from cofi_dist.trackers import recipient
from cofi_dist.trackers.callback import Metrics, Outcome, Report
from cofi_dist.trackers.recipient import BackgroundDelivery, DirectDelivery, described

END = Outcome(status="finished")


def metrics(epoch: int) -> Metrics:
    return Metrics(epoch=epoch, cost=1.0, seconds=1.0, ratings_per_second=1.0, validation={})


class Collector:
    """Keep what is received, once the gate is open."""

    def __init__(self) -> None:
        self.called, self.gate, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.received: list[Report] = []

    def receive(self, reports: Sequence[Report]) -> None:
        self.called.set()
        self.gate.wait()
        self.received += reports

    def interrupt(self) -> None:
        self.gate.set()

    def close(self) -> None:
        self.closed.set()


def test_all_arrive_in_order_and_in_batches() -> None:
    collector, lines = Collector(), deque[str]()
    delivery = BackgroundDelivery("x", collector, lines)
    for epoch in range(2000):
        delivery.add(metrics(epoch))
    delivery.add(END)
    collector.gate.set()
    delivery.wait(300)
    delivery.finish()
    assert collector.received == [*map(metrics, range(2000)), END]
    assert not lines


def test_what_does_not_fit_into_the_queue_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipient, "MOST_PENDING", 10)
    collector, lines = Collector(), deque[str]()
    delivery = BackgroundDelivery("x", collector, lines)
    delivery.add(metrics(0))
    assert collector.called.wait(300), "it has the first one, and the queue is empty"
    for epoch in range(1, 100):
        delivery.add(metrics(epoch))
    delivery.add(END)
    collector.gate.set()
    delivery.wait(300)
    delivery.finish()
    assert collector.received == [metrics(0), *map(metrics, range(2, 11)), END]
    assert list(lines) == ["x: 90 reports did not get through: it is too slow, or hangs"]


def test_one_that_hangs_is_closed_and_left() -> None:
    collector, lines = Collector(), deque[str]()
    delivery = BackgroundDelivery("x", collector, lines)
    delivery.add(metrics(1))
    delivery.add(END)
    start = time.monotonic()
    delivery.wait(0.1)
    delivery.finish()
    assert time.monotonic() - start < 60
    assert collector.closed.wait(60)
    assert list(lines) == ["x: 2 reports did not get through: it is too slow, or hangs"]


class Exiter(Collector):
    def receive(self, reports: Sequence[Report]) -> None:
        raise SystemExit(3)


def test_a_thread_that_exits_is_told_of_too() -> None:
    lines = deque[str]()
    delivery = BackgroundDelivery("x", Exiter(), lines)
    delivery.add(metrics(1))
    delivery.wait(300)
    delivery.finish()
    assert list(lines) == ["x: SystemExit: 3; it is switched off, and the run goes on"]


def test_a_direct_delivery_does_not_hide_an_interrupt() -> None:
    delivery = DirectDelivery("x", Exiter(), deque())
    with pytest.raises(SystemExit):
        delivery.add(metrics(1))


def test_a_long_error_is_cut() -> None:
    assert described(ValueError()) == "ValueError"
    assert len(described(ValueError("x " * 1000))) < 400
