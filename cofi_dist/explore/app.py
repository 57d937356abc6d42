"""Define the addresses of the page and of what it asks."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from cofi_dist.errors import CofiError, DataError
from cofi_dist.explore import questions
from cofi_dist.explore.answers import Answers
from cofi_dist.explore.catalogue import Catalogue
from cofi_dist.explore.explored import Answer, ExploredModel, UnknownError
from cofi_dist.explore.guard import Guard
from cofi_dist.explore.workers import BusyError, Workers

PAGE = Path(__file__).parent / "page"
MOST_BYTES = 2**16  # of a question
SECONDS_TO_ASK = 10.0

Q = TypeVar("Q", bound=questions.Question)
Endpoint = Callable[[Request], Awaitable[Response]]


def build_app(
    models: Sequence[ExploredModel],
    catalogue: Catalogue,
    *,
    names: Collection[str] = ("localhost",),
    loopback: bool = True,
    workers: Workers | None = None,
) -> Starlette:
    """Return the application that serves the page.

    Args:
        models: one or two.
        catalogue: of their items.
        names: by which the server may be called, beside its addresses.
        loopback: whether only addresses of the loopback may be called.
        workers: that compute the answers; None for the usual ones.
    """
    pool, answers = workers or Workers(), Answers(models, catalogue)
    asked: list[tuple[str, str, Any, Any]] = [
        ("GET", "models", questions.NoQuestion, answers.models),
        ("GET", "search", questions.Search, answers.search),
        ("GET", "users", questions.UserSearch, answers.users),
        ("GET", "similar", questions.Similar, answers.similar),
        ("GET", "map", questions.Neighbours, answers.neighbourhood),
        ("GET", "history", questions.History, answers.history),
        ("POST", "recommend", questions.Recommend, answers.recommend),
        ("POST", "explain", questions.Explain, answers.explain),
    ]
    routes: list[BaseRoute] = [
        Route(f"/api/{path}", _endpoint(pool, method, kind, answer), methods=[method])
        for method, path, kind, answer in asked
    ]
    routes += [
        Route("/", lambda _: FileResponse(PAGE / "index.html"), methods=["GET"]),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, names=names, loopback=loopback)],
        exception_handlers={
            HTTPException: _http_error,
            CofiError: _refusal,
            BusyError: _busy,
            ClientDisconnect: _gone,
            Exception: _bug,
        },
    )


def _endpoint(pool: Workers, method: str, kind: type[Q], answer: Callable[[Q], Answer]) -> Endpoint:
    """Return an endpoint that reads a question, and answers it on a thread."""

    async def endpoint(request: Request) -> Response:
        asked = _read(kind, await _body(request) if method == "POST" else _query(request))
        text = await pool.run(lambda: _to_json(answer(asked)))
        return Response(text, media_type="application/json")

    return endpoint


def _query(request: Request) -> bytes:
    return json.dumps(dict(request.query_params)).encode()


async def _body(request: Request) -> bytes:
    """Return the body of a question, which no page of another server can send as JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send the question as application/json")
    body = b""
    try:
        async with asyncio.timeout(SECONDS_TO_ASK):
            async for piece in request.stream():
                body += piece
                if len(body) > MOST_BYTES:
                    raise HTTPException(413, f"a question has at most {MOST_BYTES:,} bytes")
    except TimeoutError:
        raise HTTPException(408, f"the question was not complete within {SECONDS_TO_ASK:g} s") from None
    return body


def _read(kind: type[Q], body: bytes) -> Q:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise questions.describe(error) from None


def _to_json(answer: Any) -> bytes:
    return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()


def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _refusal(_: Request, error: Exception) -> Response:
    status = 404 if isinstance(error, UnknownError) else 400 if isinstance(error, DataError) else 500
    return JSONResponse({"error": str(error)}, status)


def _busy(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 503, {"Retry-After": "1"})


def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


def _bug(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": "this is a bug; the terminal of cofi-dist shows where"}, 500)
