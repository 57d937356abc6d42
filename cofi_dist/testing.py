"""Call a function on several ranks, for tests."""

import multiprocessing
import pickle
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.rendezvous import rendezvous_by_file

# The ranks are forked by a server that has imported torch: it takes milliseconds, and no thread is inherited.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch._dynamo", "cofi_dist.run.train"])  # optimisers import the former


def run_ranks(
    world_size: int, work: Callable[..., Any], *args: Any, tmp: Path, seconds: float = 180.0
) -> list[Any]:
    """Call `work(comm, *args)` on `world_size` ranks, processes of one thread on this machine.

    Args:
        world_size: number of ranks; with one, `comm` is a SoloComm, else a GroupComm over gloo.
        work: a function at the top level of a module, so that the processes can find it.
        args: passed to every rank.
        tmp: an existing directory, in which the ranks meet.
        seconds: time limit.

    Returns:
        What each rank's call returned, in rank order.

    Raises:
        AssertionError: a rank raised an exception, died or was too slow; the message has the traceback.
    """
    rendezvous = tmp / f"rendezvous-{uuid.uuid4().hex}"
    processes, receivers = [], []
    for rank in range(world_size):
        receiver, sender = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(
            target=_rank, args=(sender, rendezvous, rank, world_size, sys.path, work, args), daemon=True
        )
        process.start()
        sender.close()
        processes.append(process)
        receivers.append(receiver)
    try:
        return _collect(receivers, time.monotonic() + seconds)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _collect(receivers: list[Connection], deadline: float) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < len(receivers):
        pending = [receiver for rank, receiver in enumerate(receivers) if rank not in results]
        ready = wait(pending, timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"ranks {sorted(set(range(len(receivers))) - set(results))} were too slow")
        for receiver in ready:
            rank = receivers.index(receiver)  # type: ignore[arg-type]
            try:
                succeeded, result = pickle.loads(receivers[rank].recv_bytes())  # noqa: S301 - our own process
            except EOFError:
                raise AssertionError(f"rank {rank} died") from None
            if not succeeded:
                raise AssertionError(f"rank {rank} raised:\n{result}")
            results[rank] = result
    return [results[rank] for rank in range(len(receivers))]


def _rank(
    sender: Connection,
    rendezvous: Path,
    rank: int,
    world_size: int,
    path: list[str],
    work: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    sys.path[:] = path
    try:
        comm: Comm = rendezvous_by_file(rendezvous, rank, world_size)
        outcome = (True, work(comm, *args))
        comm.close()
    except BaseException:
        outcome = (False, traceback.format_exc())
    # plain pickle, as multiprocessing's own passes tensors by handles that die with this process
    sender.send_bytes(pickle.dumps(outcome))
