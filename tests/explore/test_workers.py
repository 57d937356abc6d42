"""Few questions are answered at a time, few wait, and none is waited for for long."""

import asyncio
import threading

import pytest

from cofi_dist.explore.workers import BusyError, Workers


def test_what_is_too_much_is_refused_and_later_taken() -> None:
    async def ask() -> None:
        workers, go = Workers(threads=1, waiting=2), threading.Event()
        waiting = [asyncio.create_task(workers.run(go.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="too many questions at once"):
            await workers.run(lambda: 1)
        go.set()
        assert await asyncio.gather(*waiting) == [True, True]
        await asyncio.sleep(0)
        assert await workers.run(lambda: 1) == 1
        workers.close()

    asyncio.run(ask())


def test_a_slow_answer_is_not_waited_for_and_counts_until_it_is_there() -> None:
    async def ask() -> None:
        workers, go = Workers(threads=1, waiting=1, seconds=0.05), threading.Event()
        with pytest.raises(BusyError, match=r"no answer within 0.05 s"):
            await workers.run(go.wait)
        with pytest.raises(BusyError, match="too many"):
            await workers.run(lambda: 1)
        go.set()
        while True:
            try:
                assert await workers.run(lambda: 1) == 1
                break
            except BusyError:
                await asyncio.sleep(0.01)
        workers.close()

    asyncio.run(ask())


def test_what_goes_wrong_is_raised_and_frees_the_place() -> None:
    async def ask() -> None:
        workers = Workers(threads=1, waiting=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await workers.run(lambda: 1 // 0)
            await asyncio.sleep(0.01)
        workers.close()

    asyncio.run(ask())
