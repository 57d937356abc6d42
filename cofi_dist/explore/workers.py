"""Compute answers on a few threads, and refuse what would have to wait too long."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")


class BusyError(Exception):
    """Report that an answer cannot be had now."""


class Workers:
    """Compute on few threads, as an answer takes milliseconds, and memory for each of the items.

    Args:
        threads: that compute.
        waiting: questions that may be waiting or computed at a time.
        seconds: after which an answer is not waited for. A thread cannot be stopped, so the question counts
            until it is done.
    """

    def __init__(self, threads: int = 2, waiting: int = 64, seconds: float = 10.0) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="explore")
        self._free, self._seconds = waiting, seconds

    async def run(self, function: Callable[[], R]) -> R:
        """Return what the function returns.

        Raises:
            BusyError: too many questions are waiting, or this one took too long.
        """
        if not self._free:
            raise BusyError("too many questions at once; ask again in a second")
        self._free -= 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(function)
        future.add_done_callback(lambda _: self._release(loop))
        answer = asyncio.wrap_future(future)
        answer.add_done_callback(_notice)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), self._seconds)
        except TimeoutError:
            raise BusyError(f"no answer within {self._seconds:g} s; ask again, or for less") from None

    def close(self) -> None:
        """Drop what is waiting; what is being computed is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _release(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._free_one)

    def _free_one(self) -> None:
        self._free += 1


def _notice(answer: "asyncio.Future[R]") -> None:
    """Look at what a function has raised: asyncio would complain if nobody did."""
    if not answer.cancelled():
        answer.exception()
