"""What is known of one request of content while it is answered, and where that goes when it is over.

Metrics and access log are entered from the same values, by the same call, once: so their sums agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aiohttp import hdrs, web

from edge import metrics
from edge.access_log import AccessLog, End, Line
from edge.answers import Answer, Block
from edge.cache.model import Outcome, Tier
from edge.inflight import route_of

_HIT = Outcome(tier=Tier.MEMORY)


class Account:
    """One request. began: when it came (monotonic, s). The handler fills in the rest as it learns it.

    bytes: of the body, as they are handed to the connection. end: what it says if the handler is cancelled now.
    """

    __slots__ = ("age_s", "began", "bytes", "end", "head_at", "outcome", "status", "uri")

    def __init__(self, began: float) -> None:
        self.began = began
        self.head_at: float | None = None
        self.uri: str | None = None
        self.outcome: Outcome | None = None
        self.status: int | None = None
        self.age_s: int | None = None
        self.bytes = 0
        self.end = End.CUT

    @property
    def first_byte_s(self) -> float | None:
        """Until its head was known; None when it never was."""
        return None if self.head_at is None else self.head_at - self.began


class Accounts:
    """All of a worker's. log: None when there is no access log. now: monotonic clock, seconds."""

    def __init__(self, log: AccessLog | None, now: Callable[[], float]) -> None:
        self._log = log
        self._now = now

    def begin(self) -> Account:
        """A request has come."""
        return Account(self._now())

    def answered(self, account: Account, outcome: Outcome, status: int, age_s: int | None = None) -> None:
        """The head of its answer is known."""
        account.head_at = self._now()
        account.outcome = outcome
        account.status = status
        account.age_s = age_s

    def enter(self, account: Account, request: web.Request) -> None:
        """It is over, however it ended."""
        route = route_of(request)
        first_byte_s = account.first_byte_s
        metrics.served(route, account.outcome, account.bytes, first_byte_s)
        if self._log is not None:
            share = self._log.share(failed=_failed(account))
            if share:
                self._log.request(self._line(account, request, route, first_byte_s), share)

    def _line(self, account: Account, request: web.Request, route: str, first_byte_s: float | None) -> Line:
        headers = request.headers
        return Line(
            client=request.remote or "",
            method=request.method,
            uri=account.uri or request.raw_path,
            status=account.status,
            bytes=account.bytes,
            end=account.end,
            duration_s=self._now() - account.began,
            first_byte_s=first_byte_s,
            route=route,
            outcome=account.outcome,
            age_s=account.age_s,
            byte_range=headers.get(hdrs.RANGE),
            user_agent=headers.get(hdrs.USER_AGENT),
            request_id=headers.get("X-Request-Id"),
        )


class LaneAccounts:
    """The same for hits on the fast lane (`edge.fastlane.Teller`). touch: told of what memory has served, how often."""

    def __init__(self, log: AccessLog | None, touch: Callable[[str, str, int], None]) -> None:
        self._log = log
        self._touch = touch

    @property
    def logs(self) -> bool:
        """Whether there is an access log."""
        return self._log is not None

    def served(self, answer: Answer, times: int, took_s: float) -> None:
        """So many requests have been answered with it."""
        metrics.REQUESTS.inc(answer.route, answer.method, str(answer.status), by=times)
        metrics.served(answer.route, _HIT, answer.bytes, took_s, times=times)
        self._touch(answer.key.uri, answer.key.part, times)

    def cut(self, answer: Answer) -> None:
        """A client left before it had all of it. What it had nobody knows: all was handed to the connection."""
        metrics.REQUESTS.inc(answer.route, answer.method, "cut")
        metrics.served(answer.route, _HIT, answer.bytes, 0.0)

    def logged(self, answer: Answer, block: Block, client: str, *, took_s: float, whole: bool) -> None:
        """One request has been answered with it, and may be logged."""
        share = self._log.share(failed=False) if self._log is not None else 0.0
        if self._log is None or not share:
            return
        line = Line(
            client=client,
            method=answer.method,
            uri=answer.key.uri,
            status=answer.status,
            bytes=answer.bytes,
            end=End.WHOLE if whole else End.CUT,
            duration_s=took_s,
            first_byte_s=min(took_s, answer.took_s),
            route=answer.route,
            outcome=replace(_HIT, ttl_s=answer.ttl_s),
            age_s=answer.age_s,
            byte_range=block.byte_range,
            user_agent=block.user_agent,
            request_id=block.request_id,
        )
        self._log.request(line, share)


def _failed(account: Account) -> bool:
    """Whether it is logged whatever the sample: the origin or we did not do what we should."""
    error = account.outcome is not None and account.outcome.error is not None
    return error or account.end is End.BROKEN or (account.status is not None and account.status >= 500)
