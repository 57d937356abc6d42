"""Two network namespaces joined by a cable of limited speed. Linux, root, iproute2."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PORT = "cable"  # the name of either end, in its own namespace
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


@dataclass(frozen=True)
class Cable:
    """`100mbit`, or `100mbit/5ms` with a delay each way.

    Attributes:
        rate: as tc has it.
        delay: as tc has it; empty for none.
    """

    rate: str
    delay: str = ""

    @property
    def burst(self) -> int:
        """Bytes that may pass at once: a millisecond's, and room for what a card hands over in one piece."""
        unit = self.rate[-4:]
        if unit not in UNITS:
            raise SystemExit(f"benchmarks.ranks: --network {self.rate}: give a rate such as 100mbit or 1gbit")
        return max(2**18, int(float(self.rate[:-4]) * UNITS[unit] / 8000))


def missing() -> str:
    """Why there can be no namespaces here; empty if there can."""
    absent = [name for name in ("ip", "tc", "nsenter") if shutil.which(name, path=PATH) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.getuid() == 0 else "network namespaces need root"


@contextmanager
def joined(cable: Cable) -> Iterator[tuple[list[list[str]], list[str], str]]:
    """Two hosts, gone when left.

    Yields:
        What to put before a command so that it runs on either, their addresses, and in a line what
        the cable can't do here; empty where it does all that was asked for.
    """
    names = [f"cofi-bench-{os.getpid()}-{end}" for end in range(2)]
    addresses = ["10.78.0.1", "10.78.0.2"]
    try:
        for name in names:
            _call("ip", "netns", "add", name)
        peer = ["peer", "name", PORT, "netns", names[1]]
        _call("ip", "link", "add", PORT, "netns", names[0], "type", "veth", *peer)
        for name, address in zip(names, addresses, strict=True):
            _call("ip", "-n", name, "addr", "add", f"{address}/24", "dev", PORT)
            for port in ("lo", PORT):
                _call("ip", "-n", name, "link", "set", port, "up")
        yield [["nsenter", f"--net=/run/netns/{name}"] for name in names], addresses, _limit(names, cable)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], env=_env(), capture_output=True, check=False)


def _limit(names: list[str], cable: Cable) -> str:
    for name in names:
        add = ["tc", "-n", name, "qdisc", "add", "dev", PORT]
        rate = ["rate", cable.rate, "burst", str(cable.burst), "latency", "100ms"]
        _call(*add, "root", "handle", "1:", "tbf", *rate)
        if cable.delay:
            try:
                _call(
                    *add, "parent", "1:1", "handle", "10:", "netem", "delay", cable.delay, "limit", "100000"
                )
            except SystemExit as error:
                return f"no delay: {error}"
    return ""


def _call(*command: str) -> None:
    done = subprocess.run(command, env=_env(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")


def _env() -> dict[str, str]:
    return {**os.environ, "PATH": PATH}
