"""Errors the edge makes itself, as problem documents (RFC 9457) with Proxy-Status (RFC 9209)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler
from aiohttp.web_request import BaseRequest

# The software's name without its version, which is nobody's business (RFC 9110, 10.2.4).
SERVER = "smartedu-edge"
CONTENT_TYPE = "application/problem+json"


def title_of(status: int) -> str:
    """The status's reason phrase, or a plain one for codes without a registered phrase."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class Problem(web.Response):
    """An answer that the edge makes itself because something is wrong."""


def problem(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    proxy_status: str | None = None,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> Problem:
    """A problem document. `detail` names what was wrong and what is allowed; `members` are extension members.

    proxy_status: the Proxy-Status field value, e.g. `edge-1; error=connection_refused`.
    """
    shown = title or title_of(status)
    document = {"type": "about:blank", "title": shown, "status": status, "detail": detail, **members}
    response = Problem(
        status=status,
        body=orjson.dumps(document),
        content_type=CONTENT_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
    if proxy_status is not None:
        response.headers["Proxy-Status"] = proxy_status
    return response


def refused_status(node: str, status: int) -> str:
    """Proxy-Status of an answer that we make ourselves, where no more is to be said (RFC 9209, 2.3)."""
    error = "http_request_error" if status < 500 else "proxy_internal_response"
    return f"{node}; error={error}"


def attributed(node: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal handler: a problem says whose it is, where it does not say so more exactly by itself."""

    async def attribute(_request: web.Request, response: web.StreamResponse) -> None:
        if isinstance(response, Problem):
            response.headers.setdefault("Proxy-Status", refused_status(node, response.status))

    return attribute


def on_the_wire(status: int, detail: str, node: str, *, close: bool = False, again_s: int = 1) -> bytes:
    """A whole HTTP/1.1 response with a problem document, for where there is no time, or no request, to make one from.

    again_s: when to come again, which 503 says. close: it is the last on its connection.
    """
    body = orjson.dumps({"type": "about:blank", "title": title_of(status), "status": status, "detail": detail})
    lines = [
        f"HTTP/1.1 {status} {title_of(status)}",
        f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        f"Proxy-Status: {refused_status(node, status)}",
        f"Server: {SERVER}",
        *([f"Retry-After: {again_s}"] if status == 503 else []),
        *(["Connection: close"] if close else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer_in_our_version(request: BaseRequest) -> None:
    """Make the answer's version the highest that we speak, whatever the request's (RFC 9112, 2.3).

    To be called when all else that depends on the request's version is decided.
    """
    request._version = HttpVersion11  # noqa: SLF001
    request._cache["version"] = HttpVersion11  # noqa: SLF001


async def expect(request: web.Request) -> web.StreamResponse | None:
    """A route's answer to an Expect field: 100-continue is met, anything else is 417 (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return problem(417, "Expect may only be 100-continue")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # no part of the response itself has been sent yet
    return None


@web.middleware
async def as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A middleware: what the router refuses (no such path, wrong method) becomes a problem document, too."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem(
            405, f"{request.method[:32]} is not allowed here; allowed: {allowed}", headers={"Allow": allowed}
        )
    except web.HTTPNotFound:
        return problem(404, "there is nothing at this path")
    except web.HTTPRequestEntityTooLarge:
        return problem(413, "the request body is too large")
