"""How the ranks of a job find each other, again and again where torchrun restarts them."""

import errno
import ipaddress
import socket
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.distributed.handshake import Task, proof, require_proofs, require_same
from cofi_dist.distributed.process_group import PREPARE_SECONDS, GroupComm
from cofi_dist.distributed.waiting import CALL_SECONDS, Waiting
from cofi_dist.errors import ConfigError, TrainingError
from cofi_dist.system.variables import Place, by_loopback, place

MEET_SECONDS = 60.0  # ranks of one job start within seconds of each other
MEETING = "cofi_dist/meeting"
HERE, TOLD, HEARD = "cofi_dist/here", "cofi_dist/told", "cofi_dist/heard"
NOTHING = Task("", dict)


def init_comm(task: Task = NOTHING) -> Comm:
    """The communicator of this process, by the environment that torchrun sets.

    Collective: all ranks call it.

    Args:
        task: what this process was told to do; nobody is asked where it is the only one.

    Raises:
        ConfigError: the environment is incomplete, or makes no sense; or the ranks were told other things.
        TrainingError: the ranks don't meet.
    """
    here = place()
    if here is None:
        return SoloComm()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if here.ranks_here == here.world_size:
        by_loopback()
    own = task.told()
    waiting = Waiting(MEET_SECONDS)
    limit = timedelta(seconds=MEET_SECONDS)
    of_group: dict[str, Any] = {"rank": here.rank, "world_size": here.world_size, "timeout": limit}
    try:
        store, words = waiting.do(lambda: _stores(here, waiting))
        told = waiting.do(lambda: _told_to_all(own, store, here, waiting))
        require_same(told)
        waiting.do(lambda: dist.init_process_group(backend, store=store, **of_group))
    except (RuntimeError, OSError, dist.DistError) as error:
        # torch's own words go on with the addresses of its code
        said = str(error).partition("\n")[0]
        raise TrainingError(
            f"the ranks cannot meet: {said} ({here}); see the other ranks' messages, or unset WORLD_SIZE if"
            " this is the only process"
        ) from None
    comm = GroupComm(here.local_rank, here.ranks_here, words)
    proofs = comm.all_gather_objects(proof(told, here.rank))
    comm.barrier()  # all have heard all, before one leaves
    require_proofs(proofs, told, here.rank)
    comm.set_timeout(PREPARE_SECONDS)
    return comm


def _told_to_all(own: str, store: Store, here: Place, waiting: Waiting) -> list[str]:
    """What every rank was told, in rank order."""
    store.set(f"{TOLD}/{here.rank}", own)
    keys = [f"{TOLD}/{rank}" for rank in range(here.world_size)]
    waiting.why = "not all ranks have said what they were told; are all of this version?"
    waiting.until(lambda: bool(store.check(keys)))
    told = [store.get(key).decode() for key in keys]
    store.add(HEARD, 1)
    if here.rank == 0:  # with it the store may go
        waiting.until(lambda: store.add(HEARD, 0) >= here.world_size)
    return told


def _stores(here: Place, waiting: Waiting) -> tuple[Store, Store | None]:
    """A store of the ranks that are now there, all of them; and one for signs of life, if not the same."""
    store, words = _of_agent(here, waiting) if here.has_agent else (_of_first(here, waiting), None)
    if store.add(f"{HERE}/{here.rank}", 1) > 1:
        raise ConfigError(f"RANK={here.rank}: two processes have it; start them with torchrun ({here})")
    store.add(HERE, 1)

    def all_here() -> bool:
        count = store.add(HERE, 0)
        waiting.why = f"{count} of {here.world_size} ranks are there"
        return count >= here.world_size

    waiting.until(all_here)
    return store, words


def _of_first(here: Place, waiting: Waiting) -> Store:
    """The store that rank 0 holds where the variables say, without torchrun."""
    limit = timedelta(seconds=MEET_SECONDS)
    if here.rank == 0:
        try:
            return _store_at(here.host, here.port)
        except (OSError, dist.DistNetworkError) as error:
            in_use = getattr(error, "errno", None) == errno.EADDRINUSE
            if not in_use and errno.errorcode[errno.EADDRINUSE] not in str(error):
                raise
            raise ConfigError(
                f"MASTER_PORT={here.port}: another program has it on this host; set another ({here})"
            ) from None
    waiting.reach(here.host, here.port)
    return TCPStore(here.host, here.port, is_master=False, timeout=limit)


def _of_agent(here: Place, waiting: Waiting) -> tuple[Store, Store]:
    """A store that only the ranks of this start use, held by rank 0; and one for signs of life.

    torchrun's own store outlives a restart, and with it the addresses of ranks that are dead: torch
    2.13 takes them for those of the new ones, which then never meet. So its store only says where
    rank 0's is, and whoever finds nobody there, or a former one, looks again. Signs of life are left
    with torchrun, under the name of this start: it answers where rank 0 may be the one that doesn't.
    """
    host, port = here.host, here.port
    waiting.reach(host, port)
    known = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=MEET_SECONDS))
    if here.rank == 0:
        alone = here.ranks_here == here.world_size
        where = "127.0.0.1" if alone else _address_towards(host, port)
        mine = _store_at(where, 0)
        name = uuid.uuid4().hex
        mine.set("name", name)
        known.set(MEETING, f"{where} {mine.port} {name}")
        return mine, _words(host, port, name)
    waiting.why = "rank 0 has not said where it is"
    found: list[tuple[Store, Store]] = []

    def is_found() -> bool:
        if known.check([MEETING]):
            there = at = "?"
            try:
                there, at, name = known.get(MEETING).decode().split()
                # asked first, as torch's store would wait, and complain at length, where nobody is
                socket.create_connection((there, int(at)), CALL_SECONDS).close()
                store = TCPStore(there, int(at), is_master=False, timeout=timedelta(seconds=CALL_SECONDS))
                if store.get("name").decode() == name:
                    store.set_timeout(timedelta(seconds=MEET_SECONDS))
                    found.append((store, _words(host, port, name)))
            except (OSError, RuntimeError, ValueError, OverflowError, dist.DistError):
                waiting.why = f"rank 0 is not where it said, at {there}:{at}"
        return bool(found)

    waiting.until(is_found)
    return found[0]


def _words(host: str, port: int, name: str) -> Store:
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=CALL_SECONDS))
    return PrefixStore(name, store)


def _store_at(host: str, port: int) -> TCPStore:
    """A store of this process, which listens at that address alone; at all, where it is a name.

    What the others take a name for may not be what this host does.
    """
    limit = timedelta(seconds=MEET_SECONDS)
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        listening = socket.create_server((str(address), port), family=family)
    except ValueError:
        listening = None
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # it leads here by way of another one
            raise
        listening = None
    if listening is None:
        # this process reaches it by the loopback, as the name may lead elsewhere, or nowhere
        return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, timeout=limit)
    at, descriptor = listening.getsockname()[1], listening.detach()
    return TCPStore(
        str(address), at, is_master=True, wait_for_workers=False, timeout=limit, master_listen_fd=descriptor
    )


def _address_towards(host: str, port: int) -> str:
    """Where others find this host, on the way to one that all of them know; nothing is sent."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as way:
        way.connect(address)
        own = str(way.getsockname()[0])
    # the way to oneself, which /etc/hosts may make it: that host is this one, and its name leads others here
    return host if ipaddress.ip_address(own).is_loopback else own


def rendezvous_by_file(rendezvous: Path, rank: int, world_size: int) -> Comm:
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
    comm = GroupComm(local_rank=rank, local_world_size=world_size)
    comm.set_timeout(PREPARE_SECONDS)
    return comm
