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
from multidict import CIMultiDictProxy

from edge.answers import Answer, Found, Hit
from edge.cache import target
from edge.cache.ask import Ask
from edge.cache.directives import NO_DIRECTIVES
from edge.cache.engine import Engine, Reply
from edge.delivery import Delivery, asked, head_fields, is_ours, member
from edge.fastlane import Lane
from edge.forwarding import Hop, LoopError, forwarded
from edge.problems import SERVER
from origin.reader import Headers

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
        self,
        *,
        engine: Engine,
        delivery: Delivery,
        lane: Lane,
        route: Callable[[str], str | None],
        date: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        """date: the value of a Date field of now. now: monotonic clock, seconds."""
        self._engine = engine
        self._lane = lane
        self._delivery = delivery
        self._route = route
        self._date = date
        self._now = now

    def answer(self, message: RawRequestMessage, peer: Callable[[], Peer]) -> Answer | Found | None:
        """The answer to a request without a body, made before or now; None when it is not for this road."""
        method, headers = message.method, message.headers
        if method not in _METHODS or message.should_close or message.version is not HttpVersion11 or message.upgrade:
            return None
        route = self._route(message.path)
        if route is None or hdrs.EXPECT in headers or hdrs.UPGRADE in headers:
            return None  # more than an answer is wanted
        began = self._now() if self._delivery.shows_timing else 0.0
        try:
            ask = self._ask(message, peer)
            if self._is_for_all(ask, headers):
                answer = self._lane.ready(method, ask.uri, ask.conditions)
                if answer is not None:
                    return answer
            reply = self._engine.hit(ask)
        except (target.BadTarget, LoopError):
            return None
        if reply is None or is_ours(reply, published=self._delivery.published):
            return None
        return self._found(message, route, ask, reply, began)

    def _is_for_all(self, ask: Ask, headers: CIMultiDictProxy[str]) -> bool:
        """Whether the next one who asks so may get the very same answer. What it took is each request's own."""
        if self._delivery.shows_timing or ask.directives is not NO_DIRECTIVES:
            return False
        return hdrs.AUTHORIZATION not in headers and hdrs.PROXY_AUTHORIZATION not in headers

    def _ask(self, message: RawRequestMessage, peer: Callable[[], Peer]) -> Ask:
        def fields() -> Headers:
            major, minor = message.version
            who = peer()
            hop = Hop(message.method, who.address, who.scheme, f"{major}.{minor}", self._delivery.node)
            return forwarded(message.raw_headers, hop)

        return asked(self._delivery, message.method, message.path, message.headers, fields)

    def _found(self, message: RawRequestMessage, route: str, ask: Ask, reply: Reply, began: float) -> Found | None:
        if reply.key is None or not isinstance(reply.body, bytes | memoryview):
            return None
        delivery, headers = self._delivery, message.headers
        said = head_fields(delivery, ask, reply, self._now() - began if delivery.shows_timing else 0.0)
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
            member=member(delivery, ask, reply),
            dated=dated,
        )
        learnable = self._is_for_all(ask, headers)
        head = "\r\n".join(lines).encode()
        return Found(message.method, route, headers, reply.status, head, reply.body, hit, learnable)
