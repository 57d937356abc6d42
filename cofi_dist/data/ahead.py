"""Run calls on threads, a few ahead of whoever takes their results."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def results_ahead(calls: Iterable[Callable[[], T]], threads: int = 2) -> Iterator[T]:
    """Yield the results of the calls, in their order, while threads run the next few calls.

    Args:
        calls: taken one by one, as late as possible, so that what they hold is in memory for a short time.
        threads: calls that may run while the caller works on an earlier result.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
