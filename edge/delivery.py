"""How a node delivers: a request's fields as the cache sees them, a reply's fields as the client sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs
from multidict import CIMultiDict, CIMultiDictProxy

from edge.account import Accounts
from edge.answers import is_plain
from edge.cache import target
from edge.cache.ask import Ask
from edge.cache.directives import NO_DIRECTIVES, RequestDirectives, parse_request
from edge.cache.model import UNCONDITIONAL, Conditions, Forward, Head, Outcome
from edge.cache.reply import Reply
from edge.cache.status import append, cache_status, server_timing
from origin.reader import Headers

_EXPOSED = "Accept-Ranges, Age, Cache-Status, Content-Length, Content-Range, Date, ETag"
_OF_THE_STORE = frozenset({"access-control-allow-origin", "access-control-expose-headers", "accept-ranges"})
_INTERNAL = frozenset({"cache-status", "content-length", "age"})
_OF_THE_CONTENT = ("content-digest", "content-md5")  # of all bytes that were sent: not those of a part (RFC 9530, 2)
# RFC 9110, 15.4.5: what a 304 repeats; the rest would describe bytes that are not there.
_IN_NOT_MODIFIED = frozenset({"cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary"})


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a node serves its content, and who is told of it.

    node: its name. published: it is published objects, to be read by any page, whose errors the edge words itself;
    otherwise responses of an HTTP origin, passed on as they are. query_keys: the parameters that count, None: all.
    obeys: a client's Cache-Control is obeyed. shows_key, shows_timing: in Cache-Status, in Server-Timing.
    """

    accounts: Accounts
    node: str
    published: bool = True
    query_keys: frozenset[str] | None = None
    obeys: bool = False
    shows_key: bool = False
    shows_timing: bool = False


# -- of the request ------------------------------------------------------------------------------------------------


def asked(
    delivery: Delivery, method: str, path: str, headers: CIMultiDictProxy[str], fields: Callable[[], Headers] = tuple
) -> Ask:
    """A request without a body, as the cache sees it. Raises BadTarget.

    path: its target as it came. fields: makes what the origin is to see of its fields; for published objects nothing.
    """
    demanded = directives(headers) if delivery.obeys else NO_DIRECTIVES
    if delivery.published:
        return Ask(target.parse(path).uri, method, conditions(headers, method), demanded)
    uri = target.canonical(path, query_keys=delivery.query_keys)
    authorized = hdrs.AUTHORIZATION in headers
    return Ask(uri, method, conditions(headers, method), demanded, fields=fields, authorized=authorized)


def conditions(headers: CIMultiDictProxy[str], method: str = "GET") -> Conditions:
    """The request's conditions; the shared UNCONDITIONAL when there are none. Ranges are for GET (RFC 9110, 14.2)."""
    if is_plain(headers):
        return UNCONDITIONAL
    ranged = method == "GET"
    return Conditions(
        if_match=_listed(headers, "If-Match"),
        if_none_match=_listed(headers, "If-None-Match"),
        if_modified_since=headers.get("If-Modified-Since"),
        if_unmodified_since=headers.get("If-Unmodified-Since"),
        byte_range=headers.get("Range") if ranged else None,
        if_range=headers.get("If-Range") if ranged else None,
    )


def _listed(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """A list that may stand in several lines, as one."""
    return ", ".join(headers.getall(name)) if name in headers else None


def directives(headers: CIMultiDictProxy[str]) -> RequestDirectives:
    """What the client's own Cache-Control and Pragma demand."""
    if hdrs.CACHE_CONTROL not in headers and hdrs.PRAGMA not in headers:
        return NO_DIRECTIVES
    return parse_request(headers.getall(hdrs.CACHE_CONTROL, ()), headers.getall(hdrs.PRAGMA, ()))


# -- of the reply --------------------------------------------------------------------------------------------------


def member(delivery: Delivery, ask: Ask, reply: Reply) -> str:
    """Our own member of Cache-Status."""
    return cache_status(delivery.node, reply.outcome, ask.uri if delivery.shows_key else None)


def is_ours(reply: Reply, *, published: bool) -> bool:
    """Whether the edge itself has to say what is wrong: a failed condition or range, or a published object missing."""
    if reply.status in (412, 416) and reply.status != reply.head.status:
        return True
    return published and reply.status >= 400 and not reply.length


def head_fields(delivery: Delivery, ask: Ask, reply: Reply, took_s: float) -> CIMultiDict[str]:
    """The public head: the origin's end-to-end fields, then ours. took_s: from the request to this."""
    fields = _public_fields(reply.head) if delivery.published else _forwarded_fields(reply.head)
    if reply.status == 304:
        fields = [line for line in fields if line[0] in _IN_NOT_MODIFIED]
    headers: CIMultiDict[str] = CIMultiDict(fields)
    if reply.status == 206 and reply.part is not None:
        for name in _OF_THE_CONTENT:
            headers.popall(name, None)
        headers["Content-Range"] = reply.part.content_range(reply.head.length)
    if reply.age_s or _from_cache(reply.outcome):
        headers["Age"] = str(reply.age_s)
    ours = member(delivery, ask, reply)
    if delivery.published:
        headers["Cache-Status"] = ours
        headers["Accept-Ranges"] = "bytes"
        headers["Access-Control-Allow-Origin"] = "*"
        headers["Access-Control-Expose-Headers"] = _EXPOSED
    else:
        before = [value for name, value in reply.head.headers if name == "cache-status"]
        headers["Cache-Status"] = append(", ".join(before), ours)
    if delivery.shows_timing:
        headers["Server-Timing"] = server_timing(reply.outcome, took_s)
    if reply.length is not None and reply.status >= 200 and reply.status not in (204, 304):
        headers["Content-Length"] = str(reply.length)
    return headers


def _from_cache(outcome: Outcome) -> bool:
    """Whether a stored response answers: Age says that the origin did not make it for this request (RFC 9111, 5.1)."""
    stored = outcome.ttl_s is not None and (outcome.forward is None or outcome.error is not None)
    return stored or outcome.collapsed or outcome.forward is Forward.PARTIAL


def _public_fields(head: Head) -> list[tuple[str, str]]:
    """The stored fields of a published object that clients see."""
    return [line for line in head.headers if line[0] not in _INTERNAL and line[0] not in _OF_THE_STORE]


def _forwarded_fields(head: Head) -> list[tuple[str, str]]:
    """The stored fields of an HTTP origin's response that clients see."""
    return [line for line in head.headers if line[0] not in _INTERNAL]
