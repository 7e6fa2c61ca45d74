"""What is known of one request of content while it is answered, and where that goes when it is over.

Metrics and access log are entered from the same values, by the same call, once: so their sums agree.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import hdrs, web

from edge import metrics
from edge.access_log import AccessLog, End, Line
from edge.cache.model import Outcome


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
        first_byte_s = None if account.head_at is None else account.head_at - account.began
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


def _failed(account: Account) -> bool:
    """Whether it is logged whatever the sample: the origin or we did not do what we should."""
    error = account.outcome is not None and account.outcome.error is not None
    return error or account.end is End.BROKEN or (account.status is not None and account.status >= 500)


def route_of(request: web.Request) -> str:
    """The route's pattern, never the path itself: label values must stay few, and clients can make up any."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "none"
