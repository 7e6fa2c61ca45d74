"""Bytes from a client -> events to count, or the reason why not.

`parse` is pure: body, time and catalog in; events and rejections out. Nothing is dropped without a reason, and every
reason is one member of `Reason` with one sentence, which is also what the client reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum, IntEnum
from functools import partial
from typing import Final, NamedTuple, cast

from edge.counters import body as json_body

MAX_BODY_BYTES: Final = 256 * 1024
MAX_EVENTS: Final = 500
MAX_ID_CHARS: Final = 64
MAX_VIEWER_CHARS: Final = 64
MAX_AGE_MS: Final = 24 * 3600 * 1000
MAX_AHEAD_MS: Final = 60 * 1000
MAX_WATCHED_S: Final = 120

_matches_resource = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class Kind(IntEnum):
    """What happened. The numbers are written into journals: never renumber."""

    VISIT = 0
    VIEW = 1
    PLAY = 2
    WATCH = 3


class Agent(IntEnum):
    """Who sent an event. The numbers are written into journals: never renumber.

    A bot is one that says so, or whose rate no human has; bots are counted apart from humans.
    """

    HUMAN = 0
    BOT = 1


HUB: Final = "00"
HOME_COUNTRY: Final = "CN"
UNKNOWN_COUNTRY: Final = "ZZ"


class Place(NamedTuple):
    """Where an event comes from.

    province: two-digit code, "00" where it is not known or abroad. country: ISO 3166-1 alpha-2, "ZZ" where not known.
    """

    province: str
    country: str


def place_in(province: str) -> Place:
    """A place of which only the province is known: every province is in one country, of the hub none is known."""
    return Place(province, UNKNOWN_COUNTRY if province == HUB else HOME_COUNTRY)


_KINDS: Final = {kind.name.lower(): kind for kind in Kind}


class Reason(Enum):
    """Why an event was refused; the value is the sentence the client gets, the name labels the metric."""

    NOT_AN_OBJECT = "an event is a JSON object"
    ID = "id is a string of 1 to 64 characters"
    KIND = "kind is one of visit, view, play, watch"
    RESOURCE = "resource is 1 to 64 of the characters A-Z a-z 0-9 . _ -"
    RESOURCE_ON_VISIT = "a visit has no resource"
    RESOURCE_UNKNOWN = "the catalog holds no such resource"
    VIEWER = "viewer, when given, is a string of 1 to 64 characters"
    AT = "at is a whole number of milliseconds since the epoch"
    AT_TOO_OLD = "at is more than 24 hours ago"
    AT_AHEAD = "at is more than 60 seconds ahead of this node's clock"
    WATCHED = "watched_s is a number from 0 to 120, and a watch event has one"


class BodyReason(Enum):
    """Why a whole body was refused."""

    NOT_JSON = "the body is not JSON"
    NOT_EVENTS = 'the body is neither one event nor {"events": [...]}'
    TOO_MANY = "a body holds at most 500 events"


class BodyError(ValueError):
    """The body as a whole can't be read as events; nothing of it was accepted."""

    def __init__(self, reason: BodyReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason


class ViewEvent(NamedTuple):
    """One valid event. A tuple and not a dataclass: a frozen dataclass takes four times as long to make, and these are
    made by the ten thousand a second.

    resource: empty for a visit. viewer: empty when unknown. at_ms: event time, ms since the epoch.
    watched_ms: further milliseconds seen; 0 unless `kind` is WATCH.
    """

    id: str
    kind: Kind
    resource: str
    viewer: str
    at_ms: int
    watched_ms: int


class Rejection(NamedTuple):
    """One refused event: its place in the body, from 0, and why."""

    place: int
    reason: Reason


class Parsed(NamedTuple):
    """A body, sorted out: every event in it is in exactly one of the two lists."""

    events: list[ViewEvent]
    rejected: list[Rejection]


def is_resource(text: str) -> bool:
    """Whether `text` is a resource id."""
    return _matches_resource(text) is not None


def parse(body: bytes, now_ms: int, known: Callable[[str], bool] | None = None) -> Parsed:
    """Read one event or `{"events": [...]}`.

    now_ms: the node's wall clock. known: says whether the catalog holds a resource; None counts any.
    Raises BodyError when the body as a whole is not events; a bad event among good ones is a Rejection.
    """
    oldest_ms, newest_ms = now_ms - MAX_AGE_MS, now_ms + MAX_AHEAD_MS
    events: list[ViewEvent] = []
    rejected: list[Rejection] = []
    items, odd = _items(body)
    check = _check_odd if odd else _check
    for place, item in enumerate(items):
        verdict = check(item, oldest_ms, newest_ms, known)
        if type(verdict) is ViewEvent:
            events.append(verdict)
        else:
            rejected.append(Rejection(place, cast("Reason", verdict)))
    return Parsed(events, rejected)


def _items(body: bytes) -> tuple[list[object], bool]:
    """The events, and whether they are of an odd document."""
    try:
        document, odd = json_body.read(body)
    except json_body.NotJSONError as error:
        raise BodyError(BodyReason.NOT_JSON, str(error)) from error
    if not isinstance(document, dict):
        raise BodyError(BodyReason.NOT_EVENTS)
    if "events" not in document:
        return [document], odd
    items: object = document["events"]
    if not isinstance(items, list):
        raise BodyError(BodyReason.NOT_EVENTS)
    if len(items) > MAX_EVENTS:
        raise BodyError(BodyReason.TOO_MANY)
    return items, odd


def _check_odd(item: object, oldest_ms: int, newest_ms: int, known: Callable[[str], bool] | None) -> ViewEvent | Reason:
    """Of a document whose strings may be such that no journal can hold them. Of what is checked anyway, only these two
    may have any characters; a number that is infinite is in no range."""
    verdict = _check(item, oldest_ms, newest_ms, known)
    if type(verdict) is not ViewEvent:
        return verdict
    if not json_body.is_encodable(verdict.id):
        return Reason.ID
    return verdict if json_body.is_encodable(verdict.viewer) else Reason.VIEWER


def _check(item: object, oldest_ms: int, newest_ms: int, known: Callable[[str], bool] | None) -> ViewEvent | Reason:
    """In few functions: calls would cost as much as what is checked. Types are asked for by `type`, not isinstance:
    true and false are ints to Python, not to the contract."""
    if type(item) is not dict:
        return Reason.NOT_AN_OBJECT
    get = item.get
    event_id, kind, resource, at_ms, viewer = get("id"), get("kind"), get("resource"), get("at"), get("viewer")
    if type(event_id) is not str or not 0 < len(event_id) <= MAX_ID_CHARS:
        return Reason.ID
    kind = _KINDS.get(kind) if type(kind) is str else None
    if kind is None:
        return Reason.KIND
    wrong = _wrong_resource(resource, kind, known)
    if wrong is not None:
        return wrong
    if type(at_ms) is not int:
        return Reason.AT
    if not oldest_ms <= at_ms <= newest_ms:
        return Reason.AT_TOO_OLD if at_ms < oldest_ms else Reason.AT_AHEAD
    if viewer is not None and (type(viewer) is not str or not 0 < len(viewer) <= MAX_VIEWER_CHARS):
        return Reason.VIEWER
    watched_ms = _watched_ms(get("watched_s"), kind)
    if watched_ms < 0:
        return Reason.WATCHED
    return _event((event_id, kind, resource or "", viewer or "", at_ms, watched_ms))


_event: Final = partial(tuple.__new__, ViewEvent)  # its own constructor takes twice as long


def _wrong_resource(value: object, kind: Kind, known: Callable[[str], bool] | None) -> Reason | None:
    if kind is Kind.VISIT:
        return None if value is None else Reason.RESOURCE_ON_VISIT
    if type(value) is not str or _matches_resource(value) is None:
        return Reason.RESOURCE
    return None if known is None or known(value) else Reason.RESOURCE_UNKNOWN


def _watched_ms(value: object, kind: Kind) -> int:
    """Milliseconds, so that fractions of a second add up exactly; -1 for a wrong value. Other kinds than watch may
    carry one that is right, too, and count none."""
    if value is None:
        return -1 if kind is Kind.WATCH else 0
    if (type(value) is not int and type(value) is not float) or not 0 <= value <= MAX_WATCHED_S:
        return -1
    return round(value * 1000) if kind is Kind.WATCH else 0
