"""Keys for object storage: found and renewed off the event loop, and kept when renewing fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError

from origin.credentials import CredentialSource
from origin.s3 import AccessKey
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Key:
    """As botocore's frozen credentials look."""

    access_key: str | None
    secret_key: str | None = "secret"
    token: str | None = None


class Script:
    """Credentials that answer as told, in whatever thread asks."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.threads: set[threading.Thread] = set()
        self.may_answer = threading.Event()
        self.may_answer.set()

    def get_frozen_credentials(self) -> Key:
        self.threads.add(threading.current_thread())
        self.may_answer.wait(10)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return Key(answer)


@asynccontextmanager
async def kept(source: CredentialSource) -> AsyncIterator[CredentialSource]:
    task = asyncio.create_task(source.keep_fresh())
    try:
        yield source
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_key_is_there_after_the_first_answer_and_changes_when_it_is_renewed() -> None:
    script = Script("first", "second")
    async with kept(CredentialSource(lambda: script, period_s=0.001)) as source:
        await source.first_answer()
        await eventually(lambda: source.current() == AccessKey("second", "secret"))
    assert threading.main_thread() not in script.threads


async def test_a_refresh_that_hangs_leaves_the_last_key_and_the_loop_alone() -> None:
    script = Script("first", "second")
    async with kept(CredentialSource(lambda: script, period_s=0.001)) as source:
        await source.first_answer()
        script.may_answer.clear()
        key = source.current()
        await source.first_answer()
        assert source.current() is key is not None
        script.may_answer.set()


async def test_who_waits_for_a_first_answer_that_hangs_goes_on_without_a_key() -> None:
    script = Script("first")
    script.may_answer.clear()
    async with kept(CredentialSource(lambda: script)) as source:
        await source.first_answer(within_s=0.01)
        assert source.current() is None
        script.may_answer.set()
        await source.first_answer()
        assert source.current() == AccessKey("first", "secret")


async def test_a_failed_refresh_keeps_the_last_key_and_is_tried_again() -> None:
    script = Script("first", BotoCoreError(), RuntimeError("expired already"), "second")
    seen = set()
    async with kept(CredentialSource(lambda: script, period_s=0.001)) as source:
        await source.first_answer()

        def renewed() -> bool:
            seen.add(source.current())
            return source.current() == AccessKey("second", "secret")

        await eventually(renewed)
    assert seen == {AccessKey("first", "secret"), AccessKey("second", "secret")}


async def test_credentials_that_could_not_be_looked_for_are_looked_for_again() -> None:
    attempts: list[Exception | None] = [BotoCoreError(), None]
    script = Script("found")

    def look() -> Script:
        failure = attempts.pop(0)
        if failure is not None:
            raise failure
        return script

    async with kept(CredentialSource(look, period_s=0.001)) as source:
        await eventually(lambda: source.current() == AccessKey("found", "secret"))


async def test_without_credentials_reads_are_unsigned_and_nobody_is_asked_again() -> None:
    asked: list[int] = []

    def look() -> None:
        asked.append(1)

    async with kept(CredentialSource(look, period_s=0)) as source:
        await source.first_answer()
        for _ in range(10):
            await asyncio.sleep(0)
        assert source.current() is None
    assert asked == [1]
