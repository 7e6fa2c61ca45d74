"""The short road: a hit in memory, answered as soon as the strict parser has read the request's head.

Between the fast lane, which knows a request by its bytes, and the full road, which is a task with aiohttp's request and
response in it. Whatever a fresh and complete response in memory answers goes this way, whatever its conditions, ranges
or variants; nothing is awaited on it. For all else `answer` is None, and the full road begins at the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage

from edge.cache import target
from edge.cache.ask import Ask
from edge.cache.directives import NO_DIRECTIVES
from edge.cache.engine import Engine, Reply
from edge.cache.model import UNCONDITIONAL
from edge.delivery import Delivery, conditions, directives, head_fields, is_ours, member
from edge.fastlane import Found, Hit, Request
from edge.forwarding import Hop, LoopError, forwarded
from edge.problems import SERVER

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is on the other side of a connection: an address, '' for unknown, and how."""

    address: str
    scheme: str


class ShortRoad:
    """One worker's. route: the label of a path that is content, None for one that is not."""

    def __init__(
        self, *, engine: Engine, delivery: Delivery, route: Callable[[str], str | None], date: Callable[[], str]
    ) -> None:
        """date: the value of a Date field of now."""
        self._engine = engine
        self._delivery = delivery
        self._route = route
        self._date = date

    def answer(self, message: RawRequestMessage, peer: Callable[[], Peer]) -> Found | None:
        """The answer to a request without a body; None when it is not for this road."""
        if message.method not in _METHODS or message.should_close or message.version is not HttpVersion11:
            return None
        if self._delivery.shows_timing:
            return None  # there is nothing to tell the time of here
        headers = message.headers
        route = self._route(message.path)
        if route is None or message.upgrade or hdrs.EXPECT in headers or hdrs.UPGRADE in headers:
            return None  # they ask for more than an answer
        try:
            ask = self._ask(message, peer)
            reply = self._engine.hit(ask)
        except (target.BadTarget, LoopError):
            return None
        if reply is None or reply.key is None or is_ours(reply, published=self._delivery.published):
            return None
        return self._found(message, route, ask, reply)

    def _ask(self, message: RawRequestMessage, peer: Callable[[], Peer]) -> Ask:
        delivery, headers, method = self._delivery, message.headers, message.method
        path = message.path
        uri = target.parse(path).uri if delivery.published else target.canonical(path, query_keys=delivery.query_keys)
        asked = directives(headers) if delivery.obeys else NO_DIRECTIVES
        if delivery.published:
            return Ask(uri, method, conditions(headers, method), asked)

        def fields() -> tuple[tuple[str, str], ...]:
            major, minor = message.version
            who = peer()
            hop = Hop(method, who.address, who.scheme, f"{major}.{minor}", delivery.node)
            return forwarded(message.raw_headers, hop)

        authorized = hdrs.AUTHORIZATION in headers
        return Ask(uri, method, conditions(headers, method), asked, fields=fields, authorized=authorized)

    def _found(self, message: RawRequestMessage, route: str, ask: Ask, reply: Reply) -> Found | None:
        if reply.key is None or not isinstance(reply.body, bytes | memoryview):
            return None
        delivery, headers = self._delivery, message.headers
        said = head_fields(delivery, ask, reply)
        if reply.length is not None and reply.status not in (204, 304):
            said["Content-Length"] = str(reply.length)
        dated = hdrs.DATE in said
        if not dated:
            said["Date"] = self._date()
        said["Server"] = said.get(hdrs.SERVER, SERVER)
        if hdrs.CONTENT_TYPE in said:
            said["Content-Type"] = said[hdrs.CONTENT_TYPE]  # written as the full road writes it
        lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}", *map(": ".join, said.items()), "", ""]
        hit = Hit(
            key=reply.key,
            head=reply.head,
            part=reply.part,
            bodiless=not reply.body,
            plain=ask.conditions is UNCONDITIONAL,
            member=member(delivery, ask, reply),
            dated=dated,
        )
        request = Request(
            message.method, route, headers.get(hdrs.RANGE), headers.get(hdrs.USER_AGENT), headers.get("X-Request-Id")
        )
        secret = hdrs.AUTHORIZATION in headers or hdrs.PROXY_AUTHORIZATION in headers
        learnable = ask.directives is NO_DIRECTIVES and not secret
        return Found(request, reply.status, "\r\n".join(lines).encode(), reply.body, hit, learnable)
