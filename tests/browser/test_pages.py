"""The portal, the board and the lesson page as people meet them: in their language, on their screen, by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import NewVisitor, until
from tests.support.broker import ask
from tests.support.edges import Edge, start_edge
from tests.support.lessons import Published

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
SECTIONS = 6


async def test_the_board_shows_a_view_within_seconds(site: Edge, lesson: Published, visitor: NewVisitor) -> None:
    someone = await visitor()
    board = await someone.open(f"{site.url}/board")
    await expect(board.locator("[data-figure=views] dd")).to_have_text("0")
    await someone.open(f"{site.url}/lesson/{lesson.id}")
    await board.bring_to_front()
    await expect(board.locator("[data-figure=views] dd")).to_have_text("1")
    await expect(board.locator(f"tr[data-lesson='{lesson.id}'] td.number").first).to_have_text("1")
    assert someone.complaints == []


async def test_the_board_ranks_provinces_and_draws_the_day(site: Edge, lesson: Published, visitor: NewVisitor) -> None:
    someone = await visitor()
    await someone.open(f"{site.url}/lesson/{lesson.id}")
    board = await someone.open(f"{site.url}/board")
    ranked = board.locator("[data-province='00']")
    await expect(ranked.locator(".number").first).not_to_have_text("0")
    await expect(ranked.locator(".province-name")).to_contain_text("国家中心")
    await until(board, "document.querySelector('.day-line')?.getAttribute('d')?.length > 5")
    await expect(board.locator("#times")).to_contain_text("已全部计入")
    assert someone.complaints == []


async def test_the_board_finds_the_counts_again_when_the_node_was_away(site: Edge, visitor: NewVisitor) -> None:
    someone = await visitor()
    board = await someone.open(f"{site.url}/board")
    await expect(board.locator("#times")).to_contain_text("已全部计入")
    await site.stop()
    await expect(board.locator("#times")).to_have_attribute("data-trouble", "true")
    await site.start()
    await expect(board.locator("#times")).to_have_attribute("data-trouble", "false", timeout=30_000)


async def test_the_board_asks_for_the_token_where_one_is_needed(
    broker: Path, counters_server: str, chromium_path: Path, tmp_path: Path, visitor: NewVisitor
) -> None:
    assert chromium_path
    token = tmp_path / "token"
    token.write_text("open sesame")
    counters = f"{counters_server.removesuffix('/0')}/{ask(broker, 'database')['number']}"
    flags = {"origin": "http://127.0.0.1:9", "counters_redis": counters, "site": True, "counts_read_token_file": token}
    closed = await start_edge(tmp_path, flags, {})
    try:
        someone = await visitor()
        board = await someone.open(f"{closed.url}/board")
        await board.fill("#token input", "open sesame")
        await board.click("#token button")
        await expect(board.locator("[data-figure=views] dd")).to_have_text("0")
        await expect(board.locator("#token")).to_be_hidden()
    finally:
        await closed.stop()


async def test_the_interface_is_described_and_every_link_of_it_leads_somewhere(site: Edge, visitor: NewVisitor) -> None:
    someone = await visitor()
    page = await someone.open(f"{site.url}/docs")
    await expect(page.locator("h1")).to_have_text("接口说明")
    assert await page.locator(".operation").count() > 8
    dangling = await page.evaluate(
        "[...document.querySelectorAll('main a[href^=\"#\"]')].filter((a) => !document.querySelector(a.hash)).length"
    )
    assert dangling == 0
    assert someone.complaints == []


async def test_the_portal_lists_the_lesson_and_sections_still_being_prepared(
    site: Edge, lesson: Published, visitor: NewVisitor
) -> None:
    someone = await visitor()
    page = await someone.open(site.url)
    await page.wait_for_selector(f"#{lesson.section} [data-lesson='{lesson.id}']")
    assert await page.locator(".section").count() == SECTIONS
    assert await page.locator(".card-waiting").count() == SECTIONS - 1
    await page.wait_for_selector(".card-views:has-text('次观看')")
    await page.click(f"[data-lesson='{lesson.id}'] a")
    await expect(page.locator("#title")).to_have_text("测试课")
    assert someone.complaints == []


async def test_the_language_is_chosen_once_and_kept(site: Edge, lesson: Published, visitor: NewVisitor) -> None:
    someone = await visitor()
    page = await someone.open(site.url)
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    await expect(page.locator("#headline")).to_have_text("好课，就在身边")
    await page.click("#language")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    await expect(page.locator("#headline")).to_have_text("Good lessons, close by")
    await page.goto(f"{site.url}/lesson/{lesson.id}")
    await expect(page.locator("#title")).to_have_text("Test lesson")
    await page.goto(f"{site.url}/board?lang=zh")
    await expect(page.locator("h1")).to_have_text("数据看板")
    assert someone.complaints == []


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_nothing_is_wider_than_a_phone(site: Edge, lesson: Published, visitor: NewVisitor, language: str) -> None:
    someone = await visitor(**PHONE)
    for path, ready in (
        ("/", f"[data-lesson='{lesson.id}']"),
        (f"/lesson/{lesson.id}", "#details:visible"),
        ("/board", "#lessons tbody tr"),
        ("/docs", ".operation"),
        ("/lesson/unknown", "h1"),
    ):
        page = await someone.open(f"{site.url}{path}?lang={language}")
        await page.wait_for_selector(ready)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
        await page.close()


async def test_the_player_is_used_by_keyboard_alone(site: Edge, lesson: Published, visitor: NewVisitor) -> None:
    someone = await visitor()
    page = await someone.open(f"{site.url}/lesson/{lesson.id}")
    await page.wait_for_selector(".big-play")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("?")
    await expect(page.locator("dialog.help")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog.help")).to_be_hidden()
    await page.keyboard.press("m")
    assert await page.evaluate("document.querySelector('video').muted")
    await page.keyboard.press("k")
    await until(page, "document.querySelector('video').currentTime > 0.2")
    await page.keyboard.press("k")
    assert await page.evaluate("document.querySelector('video').paused")
    unnamed = "[...document.querySelectorAll('button, a, input')].filter((n) => !(n.ariaLabel || n.textContent.trim()))"
    assert await page.evaluate(f"{unnamed}.map((n) => n.outerHTML)") == []
    assert someone.complaints == []
