"""Past the cache: one request to the origin for one client, streamed through with backpressure, stored nowhere.

Each holds an origin connection for as long as its client reads, so their number is bounded.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

from edge.cache.ask import Ask
from edge.cache.conditional import Shape
from edge.cache.fetch import Site
from edge.cache.freshness import RequestFacts, head_of
from edge.cache.model import Forward, Head, Outcome, Tier
from edge.cache.ranges import parse_content_range
from edge.cache.reply import Reply, Unavailable, reply_of, shaped, ttl_s
from edge.clock import Clock
from origin.places import NoPlaceError, Places
from origin.reader import ObjectReader, OriginError, OriginFailure, ReadRequest, ReadResponse, answered_with_error


class Passing:
    """The requests of one worker that go past the cache. places: for them, and for what else is for one client only."""

    def __init__(self, *, reader: ObjectReader, clock: Clock, places: Places, site: Site) -> None:
        self._reader = reader
        self._clock = clock
        self._site = site
        self._places = places

    async def get(self, ask: Ask, forward: Forward, known: Head | None = None) -> Reply:
        """The origin's own answer; Unavailable when there is none.

        known: the head of an object that is passed because it is too large, by which conditions can be judged here.
        """
        if known is not None and not self._site.forwards:
            verdict = shaped(known, ask.conditions)
            if ask.head_only or verdict.status in (304, 412, 416):
                now = self._clock.monotonic()
                outcome = Outcome(tier=Tier.MEMORY, ttl_s=ttl_s(known, now))
                return reply_of(verdict, known, outcome, now)
        resources = AsyncExitStack()
        try:
            return await self._open(ask, forward, known, resources)
        except OriginError as error:
            await resources.aclose()
            outcome = Outcome(tier=Tier.ORIGIN, forward=forward, error=error)
            raise Unavailable(outcome, error) from error
        except BaseException:
            await resources.aclose()
            raise

    async def _open(self, ask: Ask, forward: Forward, known: Head | None, resources: AsyncExitStack) -> Reply:
        await self._take_place(resources)
        began = self._clock.monotonic()
        read = self._forwarded(ask) if self._site.forwards else _published(ask, known)
        response = await resources.enter_async_context(self._reader.open(read))
        if response.status == 412 and read.if_match is not None and not self._site.forwards:
            # Another object than the one we knew: answer with the whole of the new one.
            response = await resources.enter_async_context(self._reader.open(ReadRequest(read.target)))
        now = self._clock.monotonic()
        head = self._head(ask, response, now, now - began)
        verdict = Shape(response.status)
        if not self._site.forwards:
            head, verdict = _shaped_here(ask, response, head)
        outcome = Outcome(
            tier=Tier.ORIGIN,
            forward=forward,
            forward_status=response.status,
            timings=(("origin", now - began),),
        )
        reply = reply_of(verdict, head, outcome, now)
        reply.resources = resources
        if not ask.head_only and reply.status in (206, response.status):
            reply.body = response.chunks
        return reply

    def _forwarded(self, ask: Ask) -> ReadRequest:
        """As the client said it, conditions and ranges included."""
        return ReadRequest(
            ask.target or ask.uri,
            method=ask.method,
            headers=ask.headers,
            body=ask.body,
            body_length=ask.body_length,
            on_interim=ask.on_interim,
        )

    def _head(self, ask: Ask, response: ReadResponse, now: float, delay_s: float) -> Head:
        return head_of(
            response.status,
            self._site.received(response),
            now=now,
            wall=self._clock.wall(),
            response_delay_s=delay_s,
            rules=self._site.rules,
            request=RequestFacts(method=ask.method, authorized=ask.authorized),
        )

    async def _take_place(self, resources: AsyncExitStack) -> None:
        try:
            await self._places.take()
        except NoPlaceError:
            raise OriginError(OriginFailure.OVERLOADED, "too many responses go past the cache") from None
        resources.callback(self._places.give_back)


def _published(ask: Ask, known: Head | None) -> ReadRequest:
    """A range is asked for as one when it is known to belong to the object that we know."""
    part = shaped(known, ask.conditions).part if known is not None else None
    etag = known.strong_etag if known is not None else None
    if part is None or etag is None:
        return ReadRequest(ask.uri)
    return ReadRequest(ask.uri, if_match=etag, byte_range=(part.first, part.last))


def _shaped_here(ask: Ask, response: ReadResponse, head: Head) -> tuple[Head, Shape]:
    if response.status >= 500 or response.status in (304, 412, 416):
        raise answered_with_error(response.status)
    if response.status != 206:
        # A range is not cut out of a passing body: RFC 9110, 14.2 lets us send the whole.
        return head, shaped(head, replace(ask.conditions, byte_range=None, if_range=None))
    whereabouts = parse_content_range(response.field("content-range"))
    if whereabouts is None:
        raise OriginError(OriginFailure.PROTOCOL, "the origin sent a range without saying which")
    part, total = whereabouts
    return replace(head, length=total), Shape(206, part)
