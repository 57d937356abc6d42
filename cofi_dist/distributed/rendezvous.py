"""Let the ranks of a job find each other, again each time torchrun restarts them."""

import errno
import ipaddress
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.distributed.handshake import Task, require_same_task, require_token_proofs, token_proof
from cofi_dist.distributed.process_group import PREPARE_SECONDS, GroupComm
from cofi_dist.distributed.waiting import CALL_SECONDS, BoundedWait
from cofi_dist.errors import ConfigError, TrainingError
from cofi_dist.streams import silenced
from cofi_dist.system.variables import RankPlacement, preferring_loopback, read_placement

TORCH = tuple(map(int, torch.__version__.split(".")[:2]))
MEET_SECONDS = 60.0  # ranks of one job start within seconds of each other
# Keys of the stores. In torchrun's store: where rank 0's store is, for each meeting. In rank 0's store: how
# many ranks have arrived, what each rank was told, and how many ranks have read that.
MEETING = "cofi_dist/meeting"
HERE, TOLD, HEARD = "cofi_dist/here", "cofi_dist/told", "cofi_dist/heard"
NO_TASK = Task("", dict)
# Ranks that meet again have done other things since, such as evaluating a model on one of them.
MEET_AGAIN_SECONDS = 3600.0


@dataclass
class _Past:
    """Remember how this process has met the other ranks before.

    Attributes:
        attempts: how often it tried. All ranks count alike, so each meeting has keys of its own.
        has_met: whether it ever met them.
        stores: those that rank 0 of a job holds at MASTER_PORT: kept, as a port is opened only once.
    """

    attempts: int = 0
    has_met: bool = False
    stores: dict[tuple[str, int], Store] = field(default_factory=dict)


_PAST = _Past()


def init_comm(task: Task = NO_TASK) -> Comm:
    """Connect this process to the other ranks that the environment variables of torchrun announce.

    Collective: all ranks call it.

    Args:
        task: what this process was told to do, which must be the same on all ranks.

    Raises:
        ConfigError: the variables are incomplete or make no sense, or the ranks were told different things.
        TrainingError: the ranks do not meet.
    """
    here = read_placement()
    if here is None:
        return SoloComm()
    if dist.is_initialized():
        raise ConfigError(
            "torch.distributed: this program has a process group of its own; call destroy_process_group()"
            " before the ranks meet here"
        )
    is_one_node = here.local_world_size == here.world_size
    announcement, meeting = task.announcement(), _PAST.attempts
    _PAST.attempts += 1
    wait = BoundedWait(MEET_AGAIN_SECONDS if _PAST.has_met else MEET_SECONDS)
    group: dict[str, Any] = {
        "backend": _libraries(),
        "rank": here.rank,
        "world_size": here.world_size,
        "timeout": timedelta(seconds=MEET_SECONDS),
    }
    try:
        store, heartbeat_store = wait.run(lambda: _open_stores(here, meeting, wait))
        announcements = wait.run(lambda: _exchange_announcements(announcement, store, here, wait))
        require_same_task(announcements)
        with _surroundings_restored(), preferring_loopback() if is_one_node else nullcontext():
            wait.run(lambda: dist.init_process_group(store=store, **group))
    except (RuntimeError, OSError, dist.DistError) as error:
        # the lines after the first are addresses in torch's code
        why = str(error).partition("\n")[0]
        raise TrainingError(
            f"the ranks cannot meet: {why} ({here}); see the other ranks' messages, or unset WORLD_SIZE if"
            " this is the only process"
        ) from None
    comm = GroupComm(here.local_rank, here.local_world_size, heartbeat_store)
    proofs = comm.all_gather_objects(token_proof(announcements, here.rank))
    comm.barrier()  # every rank has all proofs before one leaves
    require_token_proofs(proofs, announcements, here.rank)
    comm.set_timeout(PREPARE_SECONDS)
    _PAST.has_met = True
    return comm


def _libraries() -> str:
    """Return the libraries of the group; nccl connects the ranks only once it is asked to carry something."""
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    return "cpu:gloo,cuda:nccl" if has_nccl else "gloo"


@contextmanager
def _surroundings_restored() -> Iterator[None]:
    """Undo what torch does to the process beside connecting it: one more excepthook at each meeting.

    Up to torch 2.10, gloo also prints on stdout that the ranks are connected, which is dropped.
    """
    hook = sys.excepthook
    try:
        with silenced(1) if TORCH < (2, 11) else nullcontext():
            yield
    finally:
        sys.excepthook = hook


def rendezvous_by_file(rendezvous: Path, rank: int, world_size: int) -> Comm:
    """Connect processes on one machine that meet through a file.

    Collective: all ranks call it.

    Args:
        rendezvous: a file that does not exist yet, the same for all ranks.
        rank: number of this process.
        world_size: number of processes.
    """
    if world_size == 1:
        return SoloComm()
    where = f"file://{rendezvous}"
    with _surroundings_restored():
        dist.init_process_group(_libraries(), init_method=where, rank=rank, world_size=world_size)
    comm = GroupComm(local_rank=rank, local_world_size=world_size)
    comm.set_timeout(PREPARE_SECONDS)
    return comm


def _exchange_announcements(
    announcement: str, store: Store, here: RankPlacement, wait: BoundedWait
) -> list[str]:
    """Return what every rank was told, in rank order."""
    store.set(f"{TOLD}/{here.rank}", announcement)
    keys = [f"{TOLD}/{rank}" for rank in range(here.world_size)]
    wait.reason = "not all ranks have said what they were told; are all of this version?"
    wait.until(lambda: bool(store.check(keys)))
    announcements = [store.get(key).decode() for key in keys]
    store.add(HEARD, 1)
    if here.rank == 0:  # if rank 0 leaves, the store goes with it
        wait.until(lambda: store.add(HEARD, 0) >= here.world_size)
    return announcements


def _open_stores(here: RankPlacement, meeting: int, wait: BoundedWait) -> tuple[Store, Store | None]:
    """Return once all ranks are there, with their store; and with one for heartbeats if it is another.

    Args:
        here: the place of this process among the ranks.
        meeting: how often this process has tried to meet the other ranks before.
        wait: bounds the time.
    """
    store: Store
    heartbeat_store: Store | None = None
    if here.has_agent:
        store, heartbeat_store = _stores_by_torchrun(here, f"{MEETING}/{meeting}", wait)
    else:
        place = (here.host, here.port)
        if place not in _PAST.stores:
            _PAST.stores[place] = _store_of_rank_zero(here, wait)
        store = PrefixStore(f"{MEETING}/{meeting}", _PAST.stores[place])
    if store.add(f"{HERE}/{here.rank}", 1) > 1:
        raise ConfigError(f"RANK={here.rank}: two processes have it; start them with torchrun ({here})")
    store.add(HERE, 1)

    def all_here() -> bool:
        count = store.add(HERE, 0)
        wait.reason = f"{count} of {here.world_size} ranks are there"
        return count >= here.world_size

    wait.until(all_here)
    return store, heartbeat_store


def _store_of_rank_zero(here: RankPlacement, wait: BoundedWait) -> Store:
    """Open the store that rank 0 holds at MASTER_ADDR, without torchrun."""
    if here.rank == 0:
        try:
            return _listen_at(here.host, here.port)
        except (OSError, dist.DistNetworkError) as error:
            in_use = getattr(error, "errno", None) == errno.EADDRINUSE
            if not in_use and errno.errorcode[errno.EADDRINUSE] not in str(error):
                raise
            raise ConfigError(
                f"MASTER_PORT={here.port}: another program has it on this host; set another ({here})"
            ) from None
    wait.until_port_answers(here.host, here.port)
    return TCPStore(here.host, here.port, is_master=False, timeout=timedelta(seconds=MEET_SECONDS))


def _stores_by_torchrun(here: RankPlacement, key: str, wait: BoundedWait) -> tuple[Store, Store]:
    """Open a store that only the ranks of this start use, held by rank 0; and one for heartbeats.

    torchrun's own store outlives a restart, and keeps the addresses of ranks that are dead. torch 2.13 takes
    them for the addresses of the new ranks, which then never meet. So torchrun's store only says where the
    store of rank 0 is, and a rank that finds nothing there, or an earlier rank 0, looks again. Heartbeats go
    to torchrun's store, under the name of this start, because it still answers if rank 0 does not.
    """
    host, port = here.host, here.port
    wait.until_port_answers(host, port)
    torchrun_store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=MEET_SECONDS))
    if here.rank == 0:
        is_one_node = here.local_world_size == here.world_size
        address = "127.0.0.1" if is_one_node else _own_address_towards(host, port)
        store = _listen_at(address, 0)
        name = uuid.uuid4().hex
        store.set("name", name)
        torchrun_store.set(key, f"{address} {store.port} {name}")
        return store, _heartbeat_store(host, port, name)
    wait.reason = "rank 0 has not said where it is"
    found: list[tuple[Store, Store]] = []

    def is_found() -> bool:
        if torchrun_store.check([key]):
            address = its_port = "?"
            try:
                address, its_port, name = torchrun_store.get(key).decode().split()
                # tried first, since torch's store would wait, and log at length, if nobody listens there
                socket.create_connection((address, int(its_port)), CALL_SECONDS).close()
                limit = timedelta(seconds=CALL_SECONDS)
                store = TCPStore(address, int(its_port), is_master=False, timeout=limit)
                if store.get("name").decode() == name:
                    store.set_timeout(timedelta(seconds=MEET_SECONDS))
                    found.append((store, _heartbeat_store(host, port, name)))
            except (OSError, RuntimeError, ValueError, OverflowError, dist.DistError):
                wait.reason = f"rank 0 is not where it said, at {address}:{its_port}"
        return bool(found)

    wait.until(is_found)
    return found[0]


def _heartbeat_store(host: str, port: int, name: str) -> Store:
    store = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=CALL_SECONDS))
    return PrefixStore(name, store)


def _listen_at(host: str, port: int) -> TCPStore:
    """Open a store of this process.

    If `host` is an address of this machine, the store listens at that address alone. If it is a name, the
    store listens at all addresses, because the other hosts may resolve the name differently.
    """
    limit = timedelta(seconds=MEET_SECONDS)
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        server = socket.create_server((str(address), port), family=family)
    except ValueError:
        server = None
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:  # an address that is forwarded here from another machine
            raise
        server = None
    if server is None:
        # this process connects by the loopback, since here the name may lead elsewhere, or nowhere
        return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, timeout=limit)
    bound_port, descriptor = server.getsockname()[1], server.detach()
    return TCPStore(
        str(address),
        bound_port,
        is_master=True,
        wait_for_workers=False,
        timeout=limit,
        master_listen_fd=descriptor,
    )


def _own_address_towards(host: str, port: int) -> str:
    """Return the address of this machine on the route to a host that all ranks know; nothing is sent."""
    family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(target)
        own = str(probe.getsockname()[0])
    # a loopback means that `host` is this machine, by a line of /etc/hosts; its name leads the others here
    return host if ipaddress.ip_address(own).is_loopback else own
