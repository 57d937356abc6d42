"""How the ranks of a job find each other, again and again where torchrun restarts them."""

import ipaddress
import os
import socket
import time
import uuid
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from cofi_dist.distributed.comm import Comm, GroupComm, SoloComm
from cofi_dist.errors import ConfigError, FailedError

MEET_SECONDS = 60.0  # ranks of one job start within seconds of each other
CALL_SECONDS = 2.0  # for a store that may be gone
MEETING = "cofi_dist/meeting"


def open_comm() -> Comm:
    """The communicator of this process, by the environment that torchrun sets.

    Collective: all ranks call it.

    Raises:
        ConfigError: the environment is incomplete.
        FailedError: the ranks don't meet.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SoloComm()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    timeout = timedelta(seconds=MEET_SECONDS)
    try:
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
            store, words = _stores_of_this_start(rank)
            dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
        else:
            words = None
            dist.init_process_group(backend, timeout=timeout)
    except (ValueError, KeyError) as error:
        raise ConfigError(f"the ranks cannot meet ({error}); start them with torchrun") from None
    except (RuntimeError, OSError, dist.DistError) as error:
        raise FailedError(f"the ranks cannot meet ({error}); see the other ranks' messages") from None
    local_rank, ranks_here = (
        int(os.environ.get(name, default))
        for name, default in (("LOCAL_RANK", "0"), ("LOCAL_WORLD_SIZE", "1"))
    )
    return GroupComm(local_rank, ranks_here, words)


def _stores_of_this_start(rank: int) -> tuple[Store, Store]:
    """A store that only the ranks of this start use, held by rank 0; and one for signs of life.

    torchrun's own store outlives a restart, and with it the addresses of ranks that are dead: torch
    2.13 takes them for those of the new ones, which then never meet. So its store only says where
    rank 0's is, and whoever finds nobody there, or a former one, looks again. Signs of life are left
    with torchrun, under the name of this start: it answers where rank 0 may be the one that doesn't.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    known = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=MEET_SECONDS))
    if rank == 0:
        mine = TCPStore(_address_towards(host, port), 0, is_master=True, wait_for_workers=False)
        name = uuid.uuid4().hex
        mine.set("name", name)
        known.set(MEETING, f"{mine.host} {mine.port} {name}")
        return mine, _words(host, port, name)
    deadline = time.monotonic() + MEET_SECONDS
    while time.monotonic() < deadline:
        there, at, name = known.get(MEETING).decode().split()
        try:
            # asked first, as torch's store would wait, and complain at length, where nobody is
            socket.create_connection((there, int(at)), CALL_SECONDS).close()
            store = TCPStore(there, int(at), is_master=False, timeout=timedelta(seconds=CALL_SECONDS))
            if store.get("name").decode() == name:
                store.set_timeout(timedelta(seconds=MEET_SECONDS))
                return store, _words(host, port, name)
        except (OSError, RuntimeError, dist.DistError):
            time.sleep(0.05)
    raise TimeoutError(f"rank 0 did not say within {MEET_SECONDS:.0f} s where it is")


def _words(host: str, port: int, name: str) -> Store:
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=CALL_SECONDS))
    return PrefixStore(name, store)


def _address_towards(host: str, port: int) -> str:
    """Where others find this host, on the way to one that all of them know; nothing is sent."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as way:
        way.connect(address)
        own = str(way.getsockname()[0])
    # the way to oneself, which /etc/hosts may make it: that host is this one, and its name leads others here
    return host if ipaddress.ip_address(own).is_loopback else own


def meet(rendezvous: Path, rank: int, world_size: int) -> Comm:
    """The communicator of processes that meet through a file, on the CPU of one machine.

    Collective: all ranks call it.

    Args:
        rendezvous: a file that isn't there yet, the same for all.
        rank: of this process.
        world_size: how many there are.
    """
    if world_size == 1:
        return SoloComm()
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world_size)
    return GroupComm(local_rank=rank, ranks_here=world_size)
