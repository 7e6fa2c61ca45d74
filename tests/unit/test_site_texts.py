"""Every text of the pages exists in both languages, and none is left over."""

from __future__ import annotations

import re

from edge.assets import SITE

SCRIPTS = SITE / "static/js"
KEY = re.compile(r"^    '?([\w.-]+)'?: ", re.MULTILINE)


def texts(language: str) -> set[str]:
    whole = (SCRIPTS / "i18n.js").read_text("utf-8")
    table = re.search(rf"^  {language}: \{{\n(.*?)^  \}},$", whole, re.MULTILINE | re.DOTALL)
    assert table is not None
    return set(KEY.findall(table[1]))


def used() -> set[str]:
    found: set[str] = set()
    for page in (SITE / "pages").rglob("*.html"):
        found |= set(re.findall(r"data-i18n(?:-[\w-]+)?=\"([^\"]+)\"", page.read_text("utf-8")))
    for script in SCRIPTS.glob("*.js"):
        if script.name != "i18n.js":
            found |= set(re.findall(r"'((?:[a-z]+)\.[\w.-]+)'", script.read_text("utf-8")))
    return {key for key in found if key.split(".")[0] in PREFIXES and not key.endswith(".js")}


PREFIXES = {key.split(".")[0] for key in texts("zh")}
# Made from a part that is not a literal: t(`board.${key}`), t(`role.${role}`), ...
COMPUTED = ("board.", "role.", "player.error.", "theme.")


def test_both_languages_have_the_same_texts() -> None:
    assert texts("zh") == texts("en")


def test_every_text_that_is_used_exists() -> None:
    assert used() - texts("zh") == set()


def test_no_text_is_left_over() -> None:
    unused = {key for key in texts("zh") - used() if not key.startswith(COMPUTED)}
    assert unused == set()


def test_the_markup_of_the_pages_is_chinese_first() -> None:
    for page in (SITE / "pages").glob("*.html"):
        assert '<html lang="zh-CN">' in page.read_text("utf-8")
