"""Results come in order, few of them ahead, and a failure or a stop ends the work."""

import os
import sys
import threading
import time

import pytest

from cofi_dist.system.threads import ahead, in_order, num_threads


def test_the_number_is_torchs_or_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert num_threads() == torch.get_num_threads()
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert num_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= num_threads() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_results_are_in_order(at_once: int) -> None:
    def slow_at_first(number: int) -> int:
        time.sleep(0.01 / (1 + number))
        return number * 2

    assert list(in_order(slow_at_first, range(20), at_once)) == [2 * number for number in range(20)]
    assert list(in_order(slow_at_first, [], at_once)) == []


def test_few_results_are_computed_ahead() -> None:
    begun: list[int] = []
    results = ahead(begun.append, range(100))
    next(results)
    assert len(begun) <= 3
    results.close()  # type: ignore[attr-defined]
    assert len(begun) <= 3


def test_a_failure_is_raised_and_ends_the_work() -> None:
    begun, lock = [], threading.Lock()

    def fail_at_three(number: int) -> int:
        with lock:
            begun.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        list(in_order(fail_at_three, range(1000), 2))
    assert len(begun) < 10
