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
    return num_cores()


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(function: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Yield function(item) of each item in order, computed on so many threads; see `ahead`.

    Args:
        function: to call; several threads do so at the same time, unless there is only one.
        items: its arguments.
        at_once: number of threads; with one, the caller's thread does it all.
    """
    return map(function, items) if at_once == 1 else ahead(function, items, at_once)


def ahead(function: Callable[[T], R], items: Iterable[T], threads: int = 2) -> Iterator[R]:
    """Yield function(item) of each item in order, while threads compute the next few.

    Args:
        function: to call.
        items: its arguments; each is taken as late as possible, so that what it holds is in memory for a
            short time.
        threads: results that may be computed while the caller works on an earlier one.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for result in waiting:
                result.cancel()
