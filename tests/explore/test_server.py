"""The server listens where it is told, and says in one line if it cannot."""

import socket

import pytest

from cofi_dist.errors import ConfigError
from cofi_dist.explore.server import listen


def test_a_free_port_is_in_the_address() -> None:
    listening = listen("127.0.0.1", 0)
    with listening.socket:
        port = listening.socket.getsockname()[1]
        assert listening.url == f"http://127.0.0.1:{port}/"
        assert listening.loopback
        assert listening.names == {"localhost", "127.0.0.1"}
        assert listening.socket.proto == socket.IPPROTO_TCP, "or asyncio would let Nagle's algorithm wait"
        with socket.create_connection(("127.0.0.1", port), timeout=60):
            pass


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"^--port {port} is in use; give another, or 0 for a free one$"
        ):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "a" * 300, "x..y"])
def test_a_host_that_is_not_here_is_told(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--host {host}: cannot be "):
        listen(host, 0)


def test_all_addresses_are_no_loopback() -> None:
    listening = listen("0.0.0.0", 0)
    with listening.socket:
        assert not listening.loopback
        assert socket.gethostname() in listening.names


def test_the_loopback_of_version_6_has_brackets() -> None:
    try:
        listening = listen("::1", 0)
    except ConfigError:
        pytest.skip("no IPv6 on this machine")
    with listening.socket:
        assert listening.url.startswith("http://[::1]:")
        assert listening.loopback
