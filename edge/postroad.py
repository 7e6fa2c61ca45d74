"""The short road of view events: a POST whose body came with its head, answered as soon as the disk has confirmed it.

The full road makes a task, a request and a response of aiohttp's for each request, which costs more than everything
that is done with an event. Here a body that is plainly to be taken is offered to the intake from where its bytes come
in, and the answer is written when its group is on disk. Whatever is not so plain (another type, a coding, a client
beyond its allowance, no JSON, a journal that refuses) takes the full road from the beginning, with the same bytes, and
is refused there. So does a body whose group the disk did not confirm: it is offered again, and the ids of its events,
should they have reached the disk after all, count once.

A head that has gone this way before, byte for byte but for the digits of its Content-Length, need not be parsed again:
the same bytes mean the same. Only where its body ends is to be seen, and that it ends where the read does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from time import monotonic
from typing import Final, NamedTuple

from aiohttp import HttpVersion11, hdrs
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy

from edge import metrics, receipts
from edge.counters.event import BodyError
from edge.counters.intake import Intake, Offer
from edge.counters.journal import JournalError
from edge.framing import END_OF_HEAD
from edge.inflight import InFlight
from edge.problems import SERVER
from edge.sender import Sender, Senders

PATH: Final = "/v1/views"
MAX_BODY_BYTES: Final = 64 * 1024
"""Longer ones come in several parts anyway."""
_UNUSUAL: Final = (hdrs.CONTENT_ENCODING, hdrs.EXPECT, hdrs.UPGRADE)


_LENGTH: Final = b"\r\nContent-Length: "
_MAX_KNOWN: Final = 4096
_MAX_KNOWN_BYTES: Final = 2048


class Taken(NamedTuple):
    """A body that waits for the disk."""

    offer: Offer
    sender: Sender
    origin: str | None


class Cut(NamedTuple):
    """A head without the digits of its Content-Length, and the length they say. Empty where it has none like that."""

    frame: bytes
    length: int


def cut(head: bytes) -> Cut:
    """Take the length out of a head."""
    at = head.find(_LENGTH) + len(_LENGTH)
    end = head.find(b"\r", at)
    digits = head[at:end]
    if at < len(_LENGTH) or not 0 < len(digits) < 6 or not digits.isdigit() or digits.startswith(b"0"):
        return Cut(b"", 0)
    return Cut(head[:at] + head[end:], int(digits))


class PostRoad:
    """One worker's. date: the value of a Date field of now."""

    def __init__(self, intake: Intake, senders: Senders, in_flight: InFlight, date: Callable[[], str]) -> None:
        self._intake, self._senders = intake, senders
        self._in_flight = in_flight
        self._date = date
        self._dated, self._date_until = b"", 0.0
        self._known: dict[bytes, CIMultiDictProxy[str]] = {}
        self._known_before: dict[bytes, CIMultiDictProxy[str]] = {}  # of these, whoever comes again is kept

    def is_for(self, message: RawRequestMessage, length: int) -> bool:
        """Whether a request with a body of this length goes this way, as far as its head says."""
        return (
            message.path == PATH
            and message.method == "POST"
            and 0 < length <= MAX_BODY_BYTES
            and message.version is HttpVersion11
            and not message.should_close
            and not self._in_flight.draining
            and not any(name in message.headers for name in _UNUSUAL)
        )

    def known(self, data: bytes) -> tuple[CIMultiDictProxy[str], bytes] | None:
        """The fields and the body of a whole request whose head has been here before; None for any other."""
        end = data.find(END_OF_HEAD) + 4
        frame, length = cut(data[:end])
        if end + length != len(data) or self._in_flight.draining:
            return None
        headers = self._known.get(frame)
        if headers is None:
            headers = self._known_before.get(frame)
            if headers is None:
                return None
            self._keep(frame, headers)
        return headers, data[end:]

    def learn(self, head: bytes, headers: CIMultiDictProxy[str]) -> None:
        """A request with this head has gone this way."""
        if len(head) <= _MAX_KNOWN_BYTES and (frame := cut(head).frame):
            self._keep(frame, headers)

    def offer(self, headers: CIMultiDictProxy[str], peer: str, body: bytes) -> Taken | None:
        """Hand the body in; None when it has to take the full road."""
        if not receipts.is_json(headers.get(hdrs.CONTENT_TYPE, "")):
            return None
        sender = self._senders.of(headers, peer)
        if self._intake.wait_s(sender.client):
            return None
        try:
            offer = self._intake.offer(body, sender.place, sender.agent, sender.client)
        except (BodyError, JournalError):
            return None
        self._in_flight.enter()
        return Taken(offer, sender, headers.get(hdrs.ORIGIN))

    def answer(self, taken: Taken) -> tuple[bytes, bool]:
        """The response to a body that is on disk, and whether it is the last one on its connection."""
        receipt = taken.offer.receipt
        receipts.count(receipt, taken.sender)
        self._ended("202")
        close = self._in_flight.draining
        if receipt.rejected:
            before, after = _response.__wrapped__(taken.origin, receipts.document(receipt), close)
        else:
            before, after = _response(taken.origin, receipts.document(receipt), close)
        return b"".join((before, self._now(), after)), close

    def _keep(self, frame: bytes, headers: CIMultiDictProxy[str]) -> None:
        if len(self._known) >= _MAX_KNOWN:
            self._known_before, self._known = self._known, {}
        self._known[frame] = headers

    def _now(self) -> bytes:
        """The date, made once a second."""
        now = monotonic()
        if now >= self._date_until:
            self._dated, self._date_until = self._date().encode(), now // 1 + 1
        return self._dated

    def left(self, taken: Taken) -> None:
        """The body is on disk, and nobody is there to hear it."""
        receipts.count(taken.offer.receipt, taken.sender)
        self._ended("cut")

    def _ended(self, status: str) -> None:
        metrics.REQUESTS.inc(PATH, "POST", status)
        self._in_flight.leave()

    def withdrawn(self, taken: Taken) -> None:
        """The disk did not confirm it: it takes the full road now."""
        self._intake.withdraw(taken.offer)
        self._in_flight.leave()


@lru_cache(maxsize=1024)
def _response(origin: str | None, document: bytes, close: bool) -> tuple[bytes, bytes]:
    """What comes before the date and after it."""
    fields = receipts.sharing(origin) | {
        hdrs.CONTENT_TYPE: "application/json",
        hdrs.CONTENT_LENGTH: str(len(document)),
    }
    lines = ["HTTP/1.1 202 Accepted", *map(": ".join, fields.items()), f"{hdrs.DATE}: "]
    end = "\r\nConnection: close" if close else ""
    return "\r\n".join(lines).encode(), f"\r\nServer: {SERVER}{end}\r\n\r\n".encode() + document
