"""What can be claimed about a step. Each claim is a value with a sentence; `fault` says what is seen instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import http_sf
import orjson

from tests.conformance.model import Claim, Exchange

NODE = "test"
PROBLEM = "application/problem+json"
FORWARD_REASONS = frozenset({"bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"})
_CONNECTION_FIELDS = ("keep-alive", "proxy-connection", "te", "upgrade", "proxy-authenticate")


def _claim(text: str, fault: Callable[[Exchange], str]) -> Claim:
    return Claim(text, fault)


def _same(what: str, wanted: object, seen: object) -> str:
    return "" if wanted == seen else f"{what} is {_short(seen)}"


def _short(value: object, limit: int = 300) -> str:
    shown = repr(value)
    return shown if len(shown) <= limit else shown[:limit] + "…"


# --- where the answer came from


def fetched(number: int, status: int | None = None) -> Claim:
    """The origin was asked once for this step, and the answer is its answer of that number."""
    return every(f"the client gets answer {number}, fetched for this request", asked(1), answered(number, status))


def reused(number: int, status: int | None = None) -> Claim:
    """The origin was not asked, and the answer is the stored one of that number, told to be a hit, with an Age."""
    return every(
        f"the client gets answer {number} from the cache",
        asked(0),
        answered(number, status),
        hit(),
        matches("Age", r"\d+"),
    )


def validated(number: int, name: str = "If-None-Match", *value: str) -> Claim:
    """The origin was asked once, with that condition, and the answer is the stored one of that number."""
    precondition = (name, *value)
    return every(
        f"the client gets stored answer {number}, validated by {': '.join(precondition)} for this request",
        asked(1),
        asked_with(*precondition),
        answered(number),
        forwarded("stale"),
        cache_status("fwd-status", 304),
    )


def asked(times: int) -> Claim:
    """So many requests reached the origin during this step."""
    return _claim(
        f"{times} request(s) reach the origin for it",
        lambda seen: _same("the number of requests that reached it", times, len(seen.received)),
    )


def reached(total: int) -> Claim:
    """So many requests of the case have reached the origin until now."""
    return _claim(
        f"{total} request(s) of the case have reached the origin",
        lambda seen: _same("the number of requests that reached it", total, seen.reached),
    )


def answered(number: int, status: int | None = None) -> Claim:
    """Status and body are those of the origin's answer of that number (status: or this one)."""

    def fault(seen: Exchange) -> str:
        wanted = seen.replies[number - 1].status if status is None else status
        return _joined(_same("status", wanted, seen.answer.status), _body(seen, seen.bodies[number - 1]))

    return _claim(f"status and body are those of answer {number}", fault)


# --- the answer itself


def status(*wanted: int) -> Claim:
    """The status is one of these."""
    return _claim(
        f"the status is {' or '.join(map(str, wanted))}",
        lambda seen: "" if seen.answer.status in wanted else f"status is {seen.answer.status}",
    )


def body(wanted: bytes) -> Claim:
    """The whole body, byte for byte."""
    return _claim(f"the body is {_short(wanted, 60)}", lambda seen: _body(seen, wanted))


def part(number: int, first: int, last: int) -> Claim:
    """206 with these bytes (both inclusive) of the origin's answer of that number, and a right Content-Range."""

    def fault(seen: Exchange) -> str:
        whole = seen.bodies[number - 1]
        wanted = f"bytes {first}-{last}/{len(whole)}"
        return _joined(
            _same("status", 206, seen.answer.status),
            _same("Content-Range", (wanted,), seen.answer.values("Content-Range")),
            _body(seen, whole[first : last + 1]),
        )

    return _claim(f"the client gets bytes {first}-{last} of answer {number} as 206", fault)


def version(wanted: str) -> Claim:
    """The HTTP version in the status line."""
    return _claim(f"the answer is in {wanted}", lambda seen: _same("the version", wanted, seen.answer.version))


def trailers(*wanted: tuple[str, str]) -> Claim:
    """The trailer fields."""
    return _claim(f"the trailers are {wanted}", lambda seen: _same("trailers", wanted, seen.answer.trailers))


def interim(*wanted: int) -> Claim:
    """The interim responses that came before, by status."""
    return _claim(
        f"interim responses {wanted} come first",
        lambda seen: _same("interim responses", wanted, tuple(one.status for one in seen.answer.interim)),
    )


def interim_with(name: str, value: str) -> Claim:
    """An interim response has this field."""
    return _claim(
        f"an interim response has {name}: {value}",
        lambda seen: (
            ""
            if any((name.lower(), value) in _lowered(one.fields) for one in seen.answer.interim)
            else f"interim responses are {_short(seen.answer.interim)}"
        ),
    )


def has(name: str, *wanted: str) -> Claim:
    """The field lines of that name have exactly these values, in order."""
    return _claim(
        f"{name} is {' and '.join(wanted)}",
        lambda seen: _same(name, tuple(map(seen.fill, wanted)), seen.answer.values(name)),
    )


def listed(name: str, *wanted: str) -> Claim:
    """The field, its lines combined, lists these members in this order; white space around commas is not judged."""
    return _claim(
        f"{name} lists {', '.join(wanted)}",
        lambda seen: _same(name, [seen.fill(one) for one in wanted], _members(seen.answer.values(name))),
    )


def listed_matching(name: str, *patterns: str) -> Claim:
    """The field, its lines combined, lists as many members as patterns, and each matches its own."""

    def fault(seen: Exchange) -> str:
        found = _members(seen.answer.values(name))
        good = len(found) == len(patterns) and all(map(re.fullmatch, patterns, found))
        return "" if good else f"{name} lists {found}"

    return _claim(f"{name} lists members that match {' and '.join(patterns)}", fault)


def lacks(*names: str) -> Claim:
    """No field line has one of these names."""

    def fault(seen: Exchange) -> str:
        present = [(name, seen.answer.values(name)) for name in names if seen.answer.values(name)]
        return f"there is {_short(present)}" if present else ""

    return _claim(f"there is no {', '.join(names)}", fault)


def matches(name: str, pattern: str) -> Claim:
    """There is exactly one field line of that name, and its whole value matches."""

    def fault(seen: Exchange) -> str:
        found = seen.answer.values(name)
        return "" if len(found) == 1 and re.fullmatch(pattern, found[0]) else f"{name} is {_short(found)}"

    return _claim(f"{name} matches {pattern}", fault)


def age(least: int, most: int) -> Claim:
    """Age lies between these seconds, both inclusive."""

    def fault(seen: Exchange) -> str:
        found = seen.answer.values("Age")
        good = len(found) == 1 and found[0].isdecimal() and least <= int(found[0]) <= most
        return "" if good else f"Age is {found}"

    return _claim(f"Age lies between {least} and {most}", fault)


def closed() -> Claim:
    """The server ended the connection after the answer."""
    return _claim("the connection is ended", lambda seen: "" if seen.answer.closed else "it stays open")


def broken_off() -> Claim:
    """The client can tell that it did not get a complete response: it is an error of the edge's own, or it is cut."""

    def fault(seen: Exchange) -> str:
        if seen.answer.status == 502:
            return problem(502).fault(seen)
        return f"a complete {seen.answer.status} with {_short(seen.answer.body)}" if seen.answer.complete else ""

    return _claim("the client gets a 502, or an answer that is visibly cut off", fault)


def refused(*wanted: int) -> Claim:
    """A request that must not be understood: one of these statuses, nothing at the origin, the connection ended."""
    return every(
        f"the request is refused with {' or '.join(map(str, wanted or (400,)))}, goes nowhere, and ends the connection",
        status(*(wanted or (400,))),
        asked(0),
        closed(),
    )


# --- what the edge says about it


def cache_status(name: str, wanted: object) -> Claim:
    """This parameter of the edge's own (the last) member of Cache-Status; None: it is absent."""

    def fault(seen: Exchange) -> str:
        found = member(seen)
        return f"Cache-Status is {seen.answer.values('Cache-Status')}" if _plain(found.get(name)) != wanted else ""

    return _claim(f"Cache-Status has {name}={wanted}" if wanted is not None else f"Cache-Status has no {name}", fault)


def hit() -> Claim:
    """Cache-Status says that the answer came from the cache."""
    return every("Cache-Status says hit", cache_status("hit", True), cache_status("fwd", None))


def forwarded(reason: str) -> Claim:
    """Cache-Status says that the request went forward, and why."""
    return every(f"Cache-Status says fwd={reason}", cache_status("fwd", reason), cache_status("hit", None))


def ttl(least: int, most: int) -> Claim:
    """The `ttl` of Cache-Status lies between these, both inclusive."""

    def fault(seen: Exchange) -> str:
        found = member(seen).get("ttl")
        good = isinstance(found, int) and least <= found <= most
        return "" if good else f"Cache-Status is {seen.answer.values('Cache-Status')}"

    return _claim(f"Cache-Status has a ttl between {least} and {most}", fault)


def problem(wanted: int, error: str | None = None) -> Claim:
    """The edge's own error: a problem document and Proxy-Status, with this error type if one is named."""

    def fault(seen: Exchange) -> str:
        found = seen.answer
        return _joined(
            _same("status", wanted, found.status),
            _same("Content-Type", PROBLEM, (found.values("Content-Type") or ("",))[0].partition(";")[0]),
            _problem_body(found.body, wanted),
            _proxy_error(found.values("Proxy-Status"), error),
        )

    return _claim(f"the answer is a problem document with status {wanted}" + (f" and {error}" if error else ""), fault)


# --- what the origin got


def asked_with(name: str, value: str | None = None) -> Claim:
    """The latest request that reached the origin has this field (with exactly this one value)."""

    def fault(seen: Exchange) -> str:
        found = seen.last.values(name) if seen.last else None
        good = bool(found) if value is None else found == (seen.fill(value),)
        return "" if good else f"{name} arrived as {found}"

    return _claim(f"the origin is asked with {name}" + ("" if value is None else f": {value}"), fault)


def asked_listing(name: str, *wanted: str) -> Claim:
    """The latest request that reached the origin lists these members, in this order."""

    def fault(seen: Exchange) -> str:
        found = seen.last.values(name) if seen.last else ()
        return _same(f"{name} at the origin", [seen.fill(one) for one in wanted], _members(found))

    return _claim(f"the origin is asked with {name} listing {', '.join(wanted)}", fault)


def asked_matching(name: str, pattern: str) -> Claim:
    """The latest request that reached the origin has this field, and its combined value matches."""

    def fault(seen: Exchange) -> str:
        found = ", ".join(seen.last.values(name)) if seen.last else ""
        return "" if re.fullmatch(seen.fill(pattern), found) else f"{name} arrived as {found!r}"

    return _claim(f"the origin is asked with {name} matching {pattern}", fault)


def asked_without(*names: str) -> Claim:
    """The latest request that reached the origin has none of these fields."""

    def fault(seen: Exchange) -> str:
        if seen.last is None:
            return "it was not asked"
        present = [(name, seen.last.values(name)) for name in names if seen.last.values(name)]
        return f"it got {_short(present)}" if present else ""

    return _claim(f"the origin is asked without {', '.join(names)}", fault)


def asked_for(method: str, target: str = "<path>") -> Claim:
    """Method and target of the latest request that reached the origin."""

    def fault(seen: Exchange) -> str:
        found = (seen.last.method, seen.last.target) if seen.last else None
        return _same("the request line at the origin", (method, seen.fill(target)), found)

    return _claim(f"the origin is asked for {method} {target}", fault)


def asked_sending(data: bytes) -> Claim:
    """The body of the latest request that reached the origin."""
    return _claim(
        f"the origin gets the body {_short(data, 60)}",
        lambda seen: _same("the body at the origin", data, seen.last.body if seen.last else None),
    )


# --- claims made of claims


def every(text: str, *claims: Claim) -> Claim:
    """All of them."""
    return _claim(text, lambda seen: _joined(*(one.fault(seen) for one in claims)))


def either(text: str, *claims: Claim) -> Claim:
    """At least one of them."""

    def fault(seen: Exchange) -> str:
        faults = [one.fault(seen) for one in claims]
        return "" if "" in faults else " / ".join(faults)

    return _claim(text, fault)


# --- what is true of every answer


def member(seen: Exchange) -> dict[str, Any]:
    """The parameters of the edge's own member of Cache-Status; empty without one. Raises ValueError for a bad field."""
    found = seen.answer.values("Cache-Status")
    if not found:
        return {}
    name, parameters = _last_member(found)
    return parameters if name == NODE else {}


def _well_formed(seen: Exchange) -> str:
    return seen.answer.fault


def _no_connection_fields(seen: Exchange) -> str:
    leaked = [name for name in _CONNECTION_FIELDS if seen.answer.values(name)]
    options = {option.lower() for option in _members(seen.answer.values("Connection"))}
    return _joined(
        f"connection fields {leaked}" if leaked else "",
        f"Connection lists {sorted(options)}" if options - {"close", "keep-alive"} else "",
    )


def _one_date(seen: Exchange) -> str:
    if seen.answer.status == 0:
        return ""
    return "" if len(seen.answer.values("Date")) == 1 else f"Date is {seen.answer.values('Date')}"


def _status_grammar(seen: Exchange) -> str:
    found = member(seen)
    reason = _plain(found.get("fwd"))
    alone = [name for name in ("fwd-status", "stored", "collapsed") if name in found and reason is None]
    return _joined(
        "both hit and fwd" if "hit" in found and reason is not None else "",
        f"fwd={reason}" if reason is not None and reason not in FORWARD_REASONS else "",
        f"{alone} without fwd" if alone else "",
        *(f"{name}={found[name]!r}" for name in ("ttl", "fwd-status") if not isinstance(found.get(name, 0), int)),
    )


def _hits_have_an_age(seen: Exchange) -> str:
    found = seen.answer.values("Age")
    if member(seen).get("hit") and not (len(found) == 1 and found[0].isdecimal()):
        return f"a hit with Age {found}"
    return ""


ALWAYS = (
    Claim("the answer keeps to the grammar of RFC 9112", _well_formed),
    Claim("no field of a connection leaks (RFC 9110, 7.6.1)", _no_connection_fields),
    Claim("there is one Date (RFC 9110, 6.6.1)", _one_date),
    Claim("Cache-Status is a structured field that says hit or fwd, never both (RFC 9211, 2)", _status_grammar),
    Claim("an answer from the cache has an Age (RFC 9111, 4)", _hits_have_an_age),
)


# --- small parts


def _body(seen: Exchange, wanted: bytes) -> str:
    found = seen.answer.body
    return _joined(
        "" if found == wanted else f"the body is {_short(found)} ({len(found)} bytes), not {_short(wanted, 60)}",
        "" if seen.answer.complete else "the answer is cut off",
    )


def _problem_body(data: bytes, wanted: int) -> str:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return f"the body is {_short(data)}"
    return _same("the document's status", wanted, document.get("status"))


def _proxy_error(lines: tuple[str, ...], wanted: str | None) -> str:
    if not lines:
        return "there is no Proxy-Status"
    name, parameters = _last_member(lines)
    error = _plain(parameters.get("error"))
    return _joined(_same("the name in Proxy-Status", NODE, name), _same("error", wanted or error, error))


def _last_member(lines: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of the last member of a structured list. Raises ValueError when it is none."""
    members: Any = http_sf.parse(", ".join(lines).encode("latin-1"), tltype="list")
    name, parameters = members[-1]
    return str(name), dict(parameters)


def _members(lines: Iterable[str]) -> list[str]:
    return [member.strip() for line in lines for member in line.split(",") if member.strip()]


def _lowered(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in fields]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, http_sf.Token) else value


def _joined(*faults: str) -> str:
    return "; ".join(fault for fault in faults if fault)
