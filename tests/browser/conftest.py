"""A real Chromium, and pages that remember what went wrong in them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.support.broker import S3Address, ask
from tests.support.edges import Edge, start_edge
from tests.support.lessons import Published
from tests.support.waiting import eventually

ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")
# A browser without a window calls itself headless, and is counted as a bot.
PEOPLE = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
STEP_WITHIN_MS = 15_000


@dataclass(slots=True)
class Visitor:
    """Somebody with a browser: a context of their own (storage, language, window), and every complaint of its pages."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    async def open(self, url: str) -> Page:
        """A new tab at `url`."""
        page = await self.context.new_page()
        page.on("console", lambda message: self._hear(message))  # noqa: PLW0108 - it writes on what it is given
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(url)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url')})")


async def until(page: Page, condition: str, within_s: float = STEP_WITHIN_MS / 1000) -> None:
    """Wait for a JavaScript condition. (Playwright's own wait needs eval, which the pages' policy forbids.)"""

    async def holds() -> bool:
        return bool(await page.evaluate(condition))

    await eventually(holds, within_s)


NewVisitor = Callable[..., Awaitable[Visitor]]


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """Where the system's browser is; without one the tests are skipped."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    return Path(found)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(chromium_path: Path) -> AsyncIterator[Browser]:
    """A browser for the tests of a file."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(chromium: Browser) -> AsyncIterator[NewVisitor]:
    """`await visitor(viewport=…)`: somebody new, who leaves in the end; arguments are those of a browser context."""
    contexts: list[BrowserContext] = []

    async def arrive(**options: Any) -> Visitor:
        context = await chromium.new_context(**{"user_agent": PEOPLE} | options)
        context.set_default_timeout(STEP_WITHIN_MS)
        contexts.append(context)
        return Visitor(context)

    yield arrive
    for context in contexts:
        await context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    broker: Path,
    s3: S3Address,
    lesson: Published,
    counters_server: str,
    chromium_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Edge]:
    """A node for the tests of a file: with pages, counts of its own, and the catalog that holds the test lesson."""
    assert chromium_path
    assert lesson.id
    counters = f"{counters_server.removesuffix('/0')}/{ask(broker, 'database')['number']}"
    flags = {
        "origin": f"s3://{s3.bucket}",
        "s3_endpoint": s3.endpoint,
        "counters_redis": counters,
        "site": True,
    }
    node = await start_edge(tmp_path_factory.mktemp("site"), flags, s3.environment)
    yield node
    await node.stop()
