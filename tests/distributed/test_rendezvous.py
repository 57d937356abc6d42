"""Where ranks meet: which addresses rank 0 is published at."""

import socket
from typing import Any

import pytest

from cofi_dist.distributed.rendezvous import _own_address_towards


def test_rank_0_is_not_published_at_a_loopback_address(monkeypatch: pytest.MonkeyPatch) -> None:
    where = {"node0": "127.0.1.1", "node1": "198.51.100.7"}  # as node0's /etc/hosts has it

    def look_up(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", (where[host], port))]

    class Way(socket.socket):
        def connect(self, address: Any) -> None:
            self.own = "127.0.0.1" if address[0].startswith("127.") else "198.51.100.6"

        def getsockname(self) -> Any:
            return self.own, 1234

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "socket", Way)
    assert _own_address_towards("node0", 29500) == "node0"
    assert _own_address_towards("node1", 29500) == "198.51.100.6"
