"""A breaker: after failures in a row a neighbour is left alone, and asked again once in a while.

    closed --(limit failures in a row)--> open --(probe succeeds)--> closed

While open, `allow` lets one call through per `probe_after_s`; there is no third state to get stuck in when a probe is
cancelled. So the rate at which a neighbour that only fails is asked falls to the probe rate, whatever is asked of us.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from edge.cache.dates import http_date
from origin.reader import ObjectReader, OriginError, OriginFailure, ReadRequest, ReadResponse

LONGEST_REST_S = 60.0
"""However long an origin asks to be left alone, it is asked again after this."""
MOST_TARGETS = 1000
"""So many that fail are known; beyond that those are forgotten that have failed longest ago."""


class Breaker:
    """limit: failures in a row that open it; probe_after_s: seconds between two probes; now: monotonic clock."""

    def __init__(self, *, now: Callable[[], float], limit: int, probe_after_s: float) -> None:
        self._now = now
        self._limit = limit
        self._probe_after_s = probe_after_s
        self._failures = 0
        self._probe_at = 0.0

    @property
    def closed(self) -> bool:
        """Whether all is well."""
        return self._failures < self._limit

    @property
    def rest_s(self) -> float:
        """Seconds until the next probe may go; 0 when there is nothing to wait for."""
        return 0.0 if self.closed else min(max(0.0, self._probe_at - self._now()), LONGEST_REST_S)

    def would_allow(self, *, patience_s: float = 0.0) -> bool:
        """Whether a call may be made now. patience_s: when it lets others go before it."""
        return self.closed or self._now() >= self._probe_at + patience_s

    def allow(self, *, patience_s: float = 0.0) -> bool:
        """Whether to call now. While open, true for one caller per probe interval."""
        if not self.would_allow(patience_s=patience_s):
            return False
        if not self.closed:
            self._probe_at = self._now() + self._probe_after_s
        return True

    def succeeded(self) -> None:
        """A call went well: closed."""
        self._failures = 0
        self._probe_at = 0.0

    def failed(self, *, decisive: bool = False, rest_s: float = 0.0) -> None:
        """A call failed; `decisive` opens at once (nobody listens). rest_s: for how long it asks to be left alone.

        One failure is no reason to rest, whatever it asks for: it may be about one object only.
        """
        self._failures = self._limit if decisive else min(self._failures + 1, self._limit)
        if not self.closed:
            rest_s = max(self._probe_after_s, min(rest_s, LONGEST_REST_S))
            # A late answer to an earlier call must not shorten a rest that was asked for.
            self._probe_at = max(self._probe_at, self._now() + rest_s)


class GuardedReader:
    """An ObjectReader behind breakers: while one is open, `open` fails at once instead of waiting for a dead origin.

    An origin that answers nothing but 5xx is as good as dead: asking on would only keep it down. One object that it
    cannot give says nothing of the others. So each target that fails has a breaker, and there is one for all, where
    a target counts once until something succeeds (as in Varnish's saintmode); what never reached the origin counts each
    time.
    """

    def __init__(self, reader: ObjectReader, *, now: Callable[[], float], limit: int, probe_after_s: float) -> None:
        """limit, probe_after_s, now: of each breaker."""
        self._reader = reader
        self._probe_after_s = probe_after_s
        self._new = partial(Breaker, now=now, limit=limit, probe_after_s=probe_after_s)
        self._breaker = self._new()
        self._failing: set[str] = set()  # since something succeeded, as many as it takes to open
        self._targets: OrderedDict[str, Breaker] = OrderedDict()

    @property
    def healthy(self) -> bool:
        """Whether the origin answered lately."""
        return self._breaker.closed

    @asynccontextmanager
    async def open(self, request: ReadRequest) -> AsyncIterator[ReadResponse]:
        """As the reader's; only the head counts as success or failure."""
        target = request.path
        own = self._targets.get(target)
        if own is not None and not own.would_allow():
            raise _left_alone("this object", own)
        # What has failed before is the worse probe: it may be all that fails.
        if not self._breaker.allow(patience_s=0.0 if own is None else self._probe_after_s):
            raise _left_alone("the origin", self._breaker)
        if own is not None:
            own.allow()
        answered = False
        try:
            async with self._reader.open(request) as response:
                answered = True
                if not response.tells_of_trouble:
                    self._succeeded(target)
                elif request.method in ("GET", "HEAD"):  # what it says to odd methods is the client's doing
                    self._failed(target, retry_after_s(response))
                yield response
        except OriginError as error:
            if not answered and error.failure.blames_origin:
                rest_s = error.retry_after_s or 0.0
                self._breaker.failed(rest_s=rest_s) if error.failure.unsent else self._failed(target, rest_s)
            raise

    async def close(self) -> None:
        """Close the reader."""
        await self._reader.close()

    def _succeeded(self, target: str) -> None:
        self._breaker.succeeded()
        self._failing.clear()
        self._targets.pop(target, None)

    def _failed(self, target: str, rest_s: float) -> None:
        own = self._targets.pop(target, None) or self._new()
        own.failed(rest_s=rest_s)
        self._targets[target] = own
        if len(self._targets) > MOST_TARGETS:
            self._targets.popitem(last=False)
        if not self._breaker.closed:
            self._breaker.failed(rest_s=rest_s)
        elif target not in self._failing:
            self._failing.add(target)
            self._breaker.failed(rest_s=rest_s)


def _left_alone(what: str, breaker: Breaker) -> OriginError:
    return OriginError(
        OriginFailure.UNAVAILABLE,
        f"{what} failed repeatedly and is being left alone",
        status=503,
        retry_after_s=breaker.rest_s,
    )


def retry_after_s(response: ReadResponse) -> float:
    """For how long the response asks us to stay away, seconds (RFC 9110, 10.2.3); 0 when it does not.

    A date counts from the response's own Date, so that the two clocks need not agree.
    """
    said = (response.field("retry-after") or "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said), LONGEST_REST_S)
    sent = http_date(response.field("date"), wall=0.0)
    until = http_date(said, wall=0.0)
    return 0.0 if sent is None or until is None else min(max(0.0, until - sent), LONGEST_REST_S)
