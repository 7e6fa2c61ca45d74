"""The keys for object storage, found the usual AWS ways and kept fresh, without a wait on the event loop.

botocore refreshes temporary keys (roles, SSO, credential processes) by HTTP or a subprocess, inside the very call that
asks for them. So it is asked in a thread, now and then, and reads take the last answer. botocore begins to refresh a
quarter of an hour before a key expires: asked every half minute, it has renewed the key long before anyone needs it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from origin.s3 import AccessKey

log = logging.getLogger(__name__)

PERIOD_S = 30.0
# Longer than a metadata service or a credential process usually takes; after it reads begin, and may be refused.
FIRST_WITHIN_S = 10.0
_FAILURES = (BotoCoreError, ClientError, OSError, RuntimeError)  # RuntimeError: refreshed, but expired already


class Frozen(Protocol):
    """One key at one moment, as botocore gives it."""

    @property
    def access_key(self) -> str | None: ...
    @property
    def secret_key(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


class Found(Protocol):
    """Credentials that renew themselves when they are asked for; asking may block and raise botocore's errors."""

    def get_frozen_credentials(self) -> Frozen: ...


def find() -> Found | None:
    """botocore's search: environment, files, processes, container and instance metadata. Blocks."""
    found: Found | None = botocore.session.Session().get_credentials()
    return found


class CredentialSource:
    """The current key. `keep_fresh` is to be run as a task; until its first answer, and without any, there is none.

    look_for: called in a thread until it has given something. No credentials at all is an answer: a public bucket is
    read unsigned, and it is not asked again. A failed refresh leaves the last key, which may still be good.
    """

    def __init__(self, look_for: Callable[[], Found | None] = find, *, period_s: float = PERIOD_S) -> None:
        self._look_for = look_for
        self._period_s = period_s
        self._found: Found | None = None
        self._key: AccessKey | None = None
        self._answered = asyncio.Event()
        self._nothing_to_keep = False

    def current(self) -> AccessKey | None:
        """The key for a read that begins now; never blocks."""
        return self._key

    async def first_answer(self, within_s: float = FIRST_WITHIN_S) -> None:
        """Wait until the first attempt is over, well or not, but no longer than `within_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._answered.wait()

    async def keep_fresh(self) -> None:
        """Ask at once and then every `period_s`, until cancelled."""
        while True:
            try:
                self._key = await _in_thread(self._ask)
            except _FAILURES as error:
                log.error("credentials for object storage cannot be had, the last ones stay: %s", error)
            self._answered.set()
            if self._nothing_to_keep:
                await asyncio.Event().wait()
            await asyncio.sleep(self._period_s)

    def _ask(self) -> AccessKey | None:
        """Runs in a thread, one at a time."""
        if self._found is None:
            self._found = self._look_for()
        if self._found is None:
            self._nothing_to_keep = True
            return None
        frozen = self._found.get_frozen_credentials()
        return AccessKey(frozen.access_key or "", frozen.secret_key or "", frozen.token)


async def _in_thread(ask: Callable[[], AccessKey | None]) -> AccessKey | None:
    """`ask()` in a daemon thread of its own: asyncio's pool would hold up the end of the process until it returns."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[AccessKey | None] = loop.create_future()

    def tell(key: AccessKey | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(key)
        else:
            answer.set_exception(error)

    def run() -> None:
        key, failure = None, None
        try:
            key = ask()
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, key, failure)

    threading.Thread(target=run, name="credentials", daemon=True).start()
    return await answer
