"""Calls that run ahead give their results in order."""

import threading
from functools import partial

import pytest

from cofi_dist.data.ahead import results_ahead


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_calls(threads: int) -> None:
    first_may_end = threading.Event()

    def double(number: int) -> int:
        if number == 0 and threads > 1:
            first_may_end.wait(10)
        if number == 1:
            first_may_end.set()
        return 2 * number

    calls = (partial(double, number) for number in range(9))
    assert list(results_ahead(calls, threads)) == list(range(0, 18, 2))


def test_few_calls_run_ahead_and_the_first_failure_is_raised() -> None:
    taken = []

    def fail(number: int) -> int:
        taken.append(number)
        if number > 1:
            raise ValueError(number)
        return number

    results = results_ahead((partial(fail, number) for number in range(99)), threads=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)
    assert max(taken) <= 4
