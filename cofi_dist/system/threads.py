"""Say how many threads to use, and compute things on several of them, with the results in order."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from cofi_dist.system.variables import read_variable

T = TypeVar("T")
R = TypeVar("R")


def num_threads() -> int:
    """Return the number of threads that torch has, or would have; it is not imported for this."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    wanted = read_variable("OMP_NUM_THREADS")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Yield function(item) of each item in order, computed on several threads.

    At most one more result than there are threads is computed ahead, so that memory stays bounded.

    Args:
        function: to call; several threads do so at the same time, unless there is only one.
        items: its arguments.
        at_once: number of threads, at least 1.
    """
    if at_once == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(at_once) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(function, item))
                if len(waiting) > at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for result in waiting:
                result.cancel()
