"""A viewer with a real browser: the lesson plays, is counted, and goes on where they stopped."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, Route

from tests.browser.conftest import NewVisitor, until
from tests.support.edges import Edge
from tests.support.lessons import RENDITIONS, Published
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PLAYED_S = 10
PLAY_WITHIN_S = 40.0


async def counts(site: Edge, lesson: Published) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{site.url}/v1/counts/resources/{lesson.id}") as response,
    ):
        assert response.status == 200, await response.text()
        return dict(await response.json())


async def play(page: Page) -> None:
    await page.click(".big-play")


async def played_past(page: Page, second: float) -> None:
    await until(page, f"document.querySelector('video').currentTime > {second}", PLAY_WITHIN_S)


@pytest.mark.parametrize("engine", ["native", "hls.js"])
async def test_a_lesson_plays_past_ten_seconds_and_counts_exactly_once(
    site: Edge, lesson: Published, visitor: NewVisitor, engine: str
) -> None:
    before = await counts(site, lesson)
    someone = await visitor()
    page = await someone.open(f"{site.url}/lesson/{lesson.id}?engine={engine}")
    await play(page)
    await played_past(page, PLAYED_S)

    assert await page.evaluate("document.querySelector('video').videoWidth") > 0
    assert await page.evaluate("document.querySelector('#player').dataset.engine") == engine
    assert someone.complaints == []
    await page.wait_for_selector(f"#views[data-count='{before['views'] + 1}']")

    # Leaving tells what was watched by a beacon; that it arrived shows that everything before it did, too.
    await page.close()

    async def watched() -> bool:
        return bool((await counts(site, lesson))["watch_seconds"] - before["watch_seconds"] >= PLAYED_S - 2)

    await eventually(watched)
    after = await counts(site, lesson)
    added = {kind: after[kind] - before[kind] for kind in ("views", "plays", "watch_seconds")}
    assert (added["views"], added["plays"]) == (1, 1)
    assert added["watch_seconds"] <= lesson.seconds


async def test_without_a_wish_the_browsers_own_engine_plays_and_hls_js_takes_over_when_it_fails(
    site: Edge, lesson: Published, visitor: NewVisitor
) -> None:
    someone = await visitor()
    failed = asyncio.Event()

    async def fail_once(route: Route) -> None:
        if failed.is_set():
            await route.continue_()
        else:
            failed.set()
            await route.fulfill(status=200, content_type="application/vnd.apple.mpegurl", body="not a playlist")

    await someone.context.route("**/master.m3u8", fail_once)
    page = await someone.open(f"{site.url}/lesson/{lesson.id}")
    await page.wait_for_selector("#player[data-engine='hls.js']")
    await play(page)
    await played_past(page, 1)
    assert failed.is_set()


async def test_a_viewer_goes_on_where_they_stopped_or_from_the_start(
    site: Edge, lesson: Published, visitor: NewVisitor
) -> None:
    someone = await visitor()
    address = f"{site.url}/lesson/{lesson.id}"
    page = await someone.open(address)
    await play(page)
    await played_past(page, 1)
    await page.keyboard.press("5")  # the middle
    await played_past(page, lesson.seconds / 2)
    await page.keyboard.press("k")
    await page.close()

    page = await someone.open(address)
    notice = page.locator(".notice-resume")
    await notice.wait_for()
    assert "0:07" in (await notice.text_content() or "")
    await play(page)
    await played_past(page, lesson.seconds / 2)
    await notice.locator("button").first.click()
    await until(page, "document.querySelector('video').currentTime < 5")
    assert someone.complaints == []


@pytest.mark.parametrize("engine", ["native", "hls.js"])
async def test_quality_and_speed_are_chosen_without_losing_the_place(
    site: Edge, lesson: Published, visitor: NewVisitor, engine: str
) -> None:
    someone = await visitor()
    page = await someone.open(f"{site.url}/lesson/{lesson.id}?engine={engine}")
    choices = page.locator(".menu-quality [role=menuitemradio]")

    async def choose(rendition: str) -> None:
        await page.click(".menu-quality > button")
        await choices.filter(has_text=rendition).click()
        await page.wait_for_selector(f".menu-quality > button:has-text('{rendition}')")

    async def shown(height: int, after_s: float, speed: float) -> None:
        holds = f"v.videoHeight === {height} && v.currentTime > {after_s} && v.playbackRate === {speed} && !v.paused"
        await until(page, f"((v) => {holds})(document.querySelector('video'))")

    await play(page)
    await choose("1080p")
    # The player's own choice comes first, then the largest.
    assert (await choices.all_text_contents())[1:] == list(reversed(RENDITIONS))
    await page.keyboard.press("5")
    await shown(1080, 7, 1)
    await page.keyboard.press("4")
    await page.keyboard.press(">")
    await choose("360p")
    await shown(360, 5.6, 1.25)
    assert someone.complaints == []


async def test_a_menu_stays_open_while_its_choices_are_brought_up_to_date(
    site: Edge, lesson: Published, visitor: NewVisitor
) -> None:
    someone = await visitor()
    page = await someone.open(f"{site.url}/lesson/{lesson.id}")
    await page.click(".menu-speed > button")
    await page.wait_for_selector(".menu-speed [role=menuitemradio]:focus")
    await page.evaluate("document.querySelector('video').playbackRate = 1.5")
    await page.wait_for_selector(".menu-speed [role=menuitemradio][aria-checked=true]:has-text('1.5')")


async def test_a_broken_network_shows_a_message_and_retrying_plays_on(
    site: Edge, lesson: Published, visitor: NewVisitor
) -> None:
    someone = await visitor()
    await someone.context.route("**/*.m3u8", lambda route: route.abort())
    page = await someone.open(f"{site.url}/lesson/{lesson.id}?engine=native")
    await page.wait_for_selector(".player-error:visible")
    await someone.context.unroute("**/*.m3u8")
    await page.click(".player-error button")
    await played_past(page, 1)
    assert not await page.is_visible(".player-error")


async def test_a_missing_player_library_is_said_with_what_to_do(
    site: Edge, lesson: Published, visitor: NewVisitor
) -> None:
    someone = await visitor()
    await someone.context.route("**/vendor/hls.mjs", lambda route: route.fulfill(status=404))
    page = await someone.open(f"{site.url}/lesson/{lesson.id}?engine=hls.js")
    await page.wait_for_selector(".player-error:has-text('make install')")


async def test_the_lesson_document_is_fetched_once(site: Edge, lesson: Published, visitor: NewVisitor) -> None:
    """The page's Link header preloads it; the module's own request must take that answer, not ask again."""
    someone = await visitor()
    asked: list[str] = []
    someone.context.on("request", lambda request: asked.append(request.url))
    page = await someone.open(f"{site.url}/lesson/{lesson.id}")
    await page.wait_for_selector("#details:visible")
    assert len([url for url in asked if f"/lessons/{lesson.id}.json" in url]) == 1
