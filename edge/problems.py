"""Errors the edge makes itself, as problem documents (RFC 9457) with Proxy-Status (RFC 9209)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

CONTENT_TYPE = "application/problem+json"


def title_of(status: int) -> str:
    """The status's reason phrase, or a plain one for codes without a registered phrase."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def problem(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    proxy_status: str | None = None,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> web.Response:
    """A problem document. `detail` names what was wrong and what is allowed; `members` are extension members.

    proxy_status: the Proxy-Status field value, e.g. `edge-1; error=connection_refused`.
    """
    shown = title or title_of(status)
    document = {"type": "about:blank", "title": shown, "status": status, "detail": detail, **members}
    response = web.Response(
        status=status,
        body=orjson.dumps(document),
        content_type=CONTENT_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
    if proxy_status is not None:
        response.headers["Proxy-Status"] = proxy_status
    return response


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
    if request.version.major != 1:
        return problem(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
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
