"""Performs a case: plays its dialogue between a client, the edge and the origin, and judges each step.

What goes wrong is told as the dialogue that was had, so that a failure can be read without running it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from uuid import uuid4

from tests.conformance.claims import ALWAYS, PROBLEM
from tests.conformance.client import Answer, RawClient, Request
from tests.conformance.model import Ask, Case, Claim, Exchange, Reply, Together
from tests.conformance.origin import RawOrigin, Stage, shown_fields
from tests.support.waiting import eventually

AGAIN_WITHIN_S = 5.0
AGAIN_PAUSE_S = 0.02
_RUN = uuid4().hex[:8]  # tells the paths of this process from those of an earlier one before the same origin


class DisagreementError(AssertionError):
    """The edge did something else than the case claims. The text is the dialogue."""


async def perform(case: Case, host: str, port: int, origin: RawOrigin) -> None:
    """Play the case against the edge at that address. Raises DisagreementError."""
    __tracebackhide__ = True
    try:
        await _Performance(case, host, port, origin).run()
    finally:
        if any(reply.fails for reply in case.origin):
            await _succeed(host, port, origin)


async def _succeed(host: str, port: int, origin: RawOrigin) -> None:
    """Let the origin give a good answer, so that the edge never sees failures of several cases in a row."""
    path = f"/conformance/{_RUN}/{uuid4().hex}"
    origin.stages[path] = stage = Stage("well", path, f"{host}:{port}", (Reply(),), lambda _line: None)
    client = RawClient(host, port)
    try:
        await eventually(lambda: _is_well(client, stage), 5)
    finally:
        await client.close()


async def _is_well(client: RawClient, stage: Stage) -> bool:
    return (await client.ask(wire(Ask(), stage))).status == 200


class _Performance:
    """One case being performed."""

    def __init__(self, case: Case, host: str, port: int, origin: RawOrigin) -> None:
        self._case = case
        self._address = (host, port)
        self._lines: list[str] = []
        path = f"/conformance/{_RUN}/{case.id}"
        self._stage = Stage(case.id, path, f"{host}:{port}", case.origin, self._lines.append)
        self._origin = origin
        self._judged = 0  # requests at the origin that belong to steps judged before

    async def run(self) -> None:
        self._origin.stages[self._stage.path] = self._stage
        async with AsyncExitStack() as stack:
            client = RawClient(*self._address)
            stack.push_async_callback(client.close)
            for step in self._case.client:
                if isinstance(step, Together):
                    await self._all(step.asks)
                else:
                    await self._one(client, step)

    async def _one(self, client: RawClient, ask: Ask) -> None:
        answer = await self._exchange(client, ask)
        faults = await self._judge(ask, answer)
        deadline = asyncio.get_running_loop().time() + AGAIN_WITHIN_S
        while faults and ask.again and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(AGAIN_PAUSE_S)
            self._judged = len(self._stage.received)
            faults = await self._judge(ask, await self._exchange(client, ask))
        self._settle(faults)

    async def _all(self, asks: tuple[Ask, ...]) -> None:
        waiting = len(asks)

        def here(status: int) -> None:
            nonlocal waiting
            waiting -= status != 503  # turned away, and coming again
            if waiting == 0:
                self._stage.opened.set()

        clients = [RawClient(*self._address) for _ in asks]
        try:
            answers = await asyncio.gather(
                *(self._exchange(client, ask, here) for client, ask in zip(clients, asks, strict=True))
            )
        finally:
            await asyncio.gather(*(client.close() for client in clients))
        faults = [fault for ask, answer in zip(asks, answers, strict=True) for fault in await self._judge(ask, answer)]
        if self._stage.forced:
            faults.append("the origin was told to go on before all clients had the head of their answer")
        self._settle(faults)

    async def _exchange(
        self, client: RawClient, ask: Ask, on_head: Callable[[int], None] = lambda _status: None
    ) -> Answer:
        request = wire(ask, self._stage)
        deadline = asyncio.get_running_loop().time() + AGAIN_WITHIN_S
        while True:
            self._lines.append(f"client -> edge        {_shown(request)}")
            answer = await client.ask(request, on_head)
            self._lines.append(f"client <- edge        {_told(answer)}")
            if not _is_turned_away(answer) or asyncio.get_running_loop().time() > deadline:
                return answer
            await asyncio.sleep(AGAIN_PAUSE_S)

    async def _judge(self, ask: Ask, answer: Answer) -> list[str]:
        faults = []
        if ask.arrives:
            try:
                await self._stage.arrived(ask.arrives)
            except TimeoutError:
                faults.append(f"{ask.arrives} requests should have reached the origin by now")
        received = tuple(self._stage.received)
        exchange = Exchange(
            answer, received[self._judged :], len(received), self._stage.bodies, self._stage.replies, self._stage.fill
        )
        return faults + list(_faults((*ask.claims, *ALWAYS), exchange))

    def _settle(self, faults: list[str]) -> None:
        __tracebackhide__ = True
        self._judged = len(self._stage.received)
        if faults:
            told = "\n".join([*self._lines, *(f"  !!  {fault}" for fault in faults)])
            raise DisagreementError(f"{self._case.id} ({self._case.section})\n{self._case.claim}\n\n{told}")


def wire(ask: Ask, stage: Stage) -> Request:
    """The bytes of a request."""
    if ask.raw is not None:
        return Request(stage.fill(ask.raw).encode("latin-1"), ask.method, until_closed=ask.until_closed)
    lines = [f"{ask.method} {stage.path}{ask.at} {ask.version}", *([ask.host] if ask.host else []), *ask.fields]
    body = b""
    if ask.body is not None and ask.chunked:
        lines.append("Transfer-Encoding: chunked")
        ending = "".join(f"{stage.fill(line)}\r\n" for line in ("0", *ask.trailers, "")).encode("latin-1")
        body = b"%x\r\n%s\r\n%s" % (len(ask.body), ask.body, ending)
    elif ask.body is not None:
        lines.append(f"Content-Length: {len(ask.body)}")
        body = ask.body
    head = "".join(f"{stage.fill(line)}\r\n" for line in (*lines, "")).encode("latin-1")
    if ask.waits:
        return Request(head, ask.method, later=body, until_closed=ask.until_closed)
    return Request(head + body, ask.method, until_closed=ask.until_closed)


def _is_turned_away(answer: Answer) -> bool:
    """The edge took the request not at all, because the machine is busy: what it would have said is not known yet."""
    kind = "".join(answer.values("Content-Type"))
    return answer.status == 503 and kind == PROBLEM and bool(answer.values("Retry-After"))


def _faults(claims: Iterable[Claim], exchange: Exchange) -> Iterable[str]:
    for claim in claims:
        try:
            fault = claim.fault(exchange)
        except ValueError as error:  # a structured field that does not parse
            fault = f"{error}: {shown_fields(exchange.answer.fields)}"
        if fault:
            yield f"{claim.text}: but {fault}"


def _shown(request: Request) -> str:
    text = request.data.decode("latin-1").removesuffix("\r\n\r\n")
    return text[:600].replace("\r\n", " | ").replace("\r", "\\r").replace("\n", "\\n")


def _told(answer: Answer) -> str:
    parts = [f"{one.status} | {shown_fields(one.fields)} ||" for one in answer.interim]
    parts.append(f"{answer.status or 'nothing'} | {shown_fields(answer.fields)} | {answer.body[:120]!r}")
    parts += ["cut off"] if not answer.complete else []
    parts += [answer.fault] if answer.fault else []
    return " ".join(parts)
