"""Listen on an address, and serve the page until a signal ends it."""

import errno
import ipaddress
import os
import socket
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from cofi_dist.errors import ConfigError

MOST_CONNECTIONS = 256
SECONDS_TO_FINISH = 2  # requests under way when the server ends


class Listening(NamedTuple):
    """Hold a socket that listens, and how to call it.

    Attributes:
        socket: it accepts connections already.
        url: of the page.
        loopback: only programs on this machine can connect.
        names: by which the server may be called, beside its addresses.
    """

    socket: socket.socket
    url: str
    loopback: bool
    names: frozenset[str]


def listen(host: str, port: int) -> Listening:
    """Listen on an address.

    Args:
        host: a name or an address of this machine.
        port: 0 for a free one.

    Raises:
        ConfigError: the host is not this machine's, or the port is in use or may not be used.
    """
    try:
        # with its protocol named, asyncio sends an answer's last part at once, and not 40 ms later
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"--host {host}: cannot be found: {why}") from None
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere, it would let two programs have one port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(MOST_CONNECTIONS)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"--port {port} is in use; give another, or 0 for a free one") from None
        what = f"--port {port}" if error.errno in (errno.EACCES, errno.EPERM) else f"--host {host}"
        raise ConfigError(f"{what}: cannot be listened on: {os.strerror(error.errno or 0)}") from None
    loopback = ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback
    names = frozenset({"localhost", host, *(() if loopback else (socket.gethostname(), socket.getfqdn()))})
    shown = f"[{host}]" if ":" in host else host
    return Listening(sock, f"http://{shown}:{sock.getsockname()[1]}/", loopback, names)


def serve(app: ASGIApp, listening: Listening) -> None:
    """Serve until SIGINT or SIGTERM; requests under way are finished, and the signal is then raised again."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    uvicorn.Server(config).run(sockets=[listening.socket])
