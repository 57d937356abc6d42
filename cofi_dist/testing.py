"""run_ranks(): a function on N ranks, for tests."""

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

# a server that has imported torch forks the ranks: milliseconds each, and no thread to inherit
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch._dynamo", "cofi_dist.run.train"])  # optimisers import the former


def run_ranks(
    world_size: int, work: Callable[..., Any], *args: Any, tmp: Path, seconds: float = 180.0
) -> list[Any]:
    """Call `work(comm, *args)` on `world_size` ranks of one thread each; gloo, on this machine.

    Args:
        world_size: how many processes; with one, `comm` is a SoloComm.
        work: a function of a module, so that the processes can find it.
        args: given to every rank.
        tmp: an existing directory, in which the ranks rendezvous_by_file.
        seconds: time limit.

    Returns:
        What each rank's call returned, in rank order.

    Raises:
        AssertionError: a rank raised (with its traceback), died or was too slow.
    """
    rendezvous = tmp / f"rendezvous-{uuid.uuid4().hex}"
    processes, pipes = [], []
    for rank in range(world_size):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(
            target=_rank, args=(theirs, rendezvous, rank, world_size, sys.path, work, args), daemon=True
        )
        process.start()
        theirs.close()
        processes.append(process)
        pipes.append(ours)
    try:
        return _collect(pipes, time.monotonic() + seconds)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _collect(pipes: list[Connection], deadline: float) -> list[Any]:
    results: dict[int, Any] = {}
    while len(results) < len(pipes):
        waiting = [pipe for rank, pipe in enumerate(pipes) if rank not in results]
        ready = wait(waiting, timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError(f"ranks {sorted(set(range(len(pipes))) - set(results))} were too slow")
        for pipe in ready:
            rank = pipes.index(pipe)  # type: ignore[arg-type]
            try:
                fine, result = pickle.loads(pipes[rank].recv_bytes())  # noqa: S301 - our own process
            except EOFError:
                raise AssertionError(f"rank {rank} died") from None
            if not fine:
                raise AssertionError(f"rank {rank} raised:\n{result}")
            results[rank] = result
    return [results[rank] for rank in range(len(pipes))]


def _rank(
    pipe: Connection,
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
        answer = (True, work(comm, *args))
        comm.close()
    except BaseException:
        answer = (False, traceback.format_exc())
    # plain pickle: multiprocessing's own would pass tensors by handles that die with this process
    pipe.send_bytes(pickle.dumps(answer))
