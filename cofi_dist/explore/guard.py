"""Let only the page itself use the server: check the Host header, and say what browsers may load.

A page of the Web could let its own name point at 127.0.0.1, and its visitor's browser would then read the
answers for it (DNS rebinding). Such a request names the page's host, so it is refused. So is a question that
another page has its visitor's browser ask, as the address of a picture: browsers say where it comes from.
"""

import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Scripts, styles and pictures come from the server alone; nothing in the page runs text as a program.
POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'"),
        *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

OWN_SITES = ("same-origin", "none")  # in Sec-Fetch-Site; `none` is somebody who typed the address


class Guard:
    """Refuse requests to other hosts, and add the headers of all answers.

    Args:
        app: that answers.
        names: by which the server may be called, beside its addresses.
        loopback: whether only addresses of the loopback may be called.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], loopback: bool) -> None:
        self._app, self._names, self._loopback = app, {name.lower() for name in names}, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        host = headers.get("host", "")
        answer: ASGIApp = self._app
        if not self._is_own(host):
            answer = _refuse(f"this server is not {host[:100]!r}; use the address that it printed")
        elif scope["path"].startswith("/api/") and headers.get("sec-fetch-site", "none") not in OWN_SITES:
            answer = _refuse("another page has asked; only this server's own page may")
        await answer(scope, receive, send_guarded)

    def _is_own(self, header: str) -> bool:
        """Tell whether a Host header, with or without a port, names this server."""
        host = header.lower()
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if host in self._names:
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or not self._loopback  # no page of the Web has an address as its name


def _refuse(why: str) -> ASGIApp:
    return JSONResponse({"error": why}, 403)
