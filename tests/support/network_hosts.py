"""Two network namespaces joined by a cable that can be cut, and ranks on them. Linux, root, iproute2."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

import torch

from cofi_dist.distributed import heartbeat
from cofi_dist.distributed.comm import Comm
from cofi_dist.distributed.rendezvous import init_comm
from cofi_dist.errors import CofiError
from cofi_dist.streams import exit_now
from cofi_dist.testing import CONTEXT

CABLE = "cable"  # the name of either end, on its own host
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
CLONE_NEWNET = 0x40000000
ADDRESSES = ("10.77.0.1", "10.77.0.2")


def missing() -> str:
    """Why there can be no such hosts here; empty if there can."""
    if shutil.which("ip", path=PATH) is None:
        return "not installed: ip"
    if os.getuid() != 0:
        return "network namespaces need root"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "no network namespace can be made here"


class Hosts:
    """There while it is entered."""

    def __init__(self) -> None:
        self._names = [f"cofi-test-{os.getpid()}-{number}" for number in range(2)]
        self._processes: list[BaseProcess] = []

    def __enter__(self) -> Self:
        try:
            for name in self._names:
                _ip("netns", "add", name)
            peer = ["peer", "name", CABLE, "netns", self._names[1]]
            _ip("link", "add", CABLE, "netns", self._names[0], "type", "veth", *peer)
            for name, address in zip(self._names, ADDRESSES, strict=True):
                _ip("-n", name, "addr", "add", f"{address}/24", "dev", CABLE)
                for device in ("lo", CABLE):
                    _ip("-n", name, "link", "set", device, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], env=_env(), capture_output=True, check=False)

    def cut(self) -> None:
        """Nothing passes between them any more, and neither is told."""
        _ip("-n", self._names[0], "link", "set", CABLE, "down")

    def mend(self) -> None:
        """As before the cut."""
        _ip("-n", self._names[0], "link", "set", CABLE, "up")

    def start(
        self, port: int, log: Path, max_missed_beats: int, work: Callable[..., None], *args: Any
    ) -> list[BaseProcess]:
        """A rank on each, which calls `work(comm, *args)` and says to `log` why it has left."""
        ranks: list[BaseProcess] = [
            CONTEXT.Process(
                target=_rank,
                args=(name, rank, port, f"{log}.{rank}", max_missed_beats, work, args),
                daemon=True,
            )
            for rank, name in enumerate(self._names)
        ]
        for process in ranks:
            process.start()
        self._processes += ranks
        return ranks


def _rank(
    name: str,
    rank: int,
    port: int,
    log: str,
    max_missed_beats: int,
    work: Callable[..., None],
    args: tuple[Any, ...],
) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    with open(f"/run/netns/{name}") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    torch.set_num_threads(1)
    heartbeat.MAX_MISSED_BEATS = max_missed_beats
    for variable in [variable for variable in os.environ if variable.startswith(("TORCHELASTIC", "GLOO"))]:
        del os.environ[variable]
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    # gloo would look for the machine's own name, which is of no use here
    os.environ |= {"MASTER_ADDR": ADDRESSES[0], "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": CABLE}
    try:
        ranks: Comm = init_comm()
        work(ranks, *args)
        ranks.close()
    except CofiError as error:
        exit_now(error)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], env=_env(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.strip()}"


def _env() -> dict[str, str]:
    return {**os.environ, "PATH": PATH}
