"""Bots that say so: by their User-Agent, as a list kept by many tells (crawler-user-agents, MIT), and by plain words.

Left out of the list are the names of HTTP libraries: they tell what a program is written with, not that nobody sits
before it. A school's application that reports its views with okhttp or aiohttp would be a bot otherwise. Whoever says
nothing is no declared bot either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

# What follows the first words is never the name; and a search takes as long as the text it searches.
_SEEN_CHARS: Final = 256
# One expression of all patterns would be six times as slow (measured with 1,500): few share a first character.
_PATTERNS_AT_ONCE: Final = 25
_PLAIN: Final = r"(?i:\bbot\b|[a-z]bot/|crawler|spider|headless)"
_LIBRARIES: Final = "http-library"


def _expressions() -> Iterator[re.Pattern[str]]:
    patterns = [one["pattern"] for one in CRAWLER_USER_AGENTS_DATA if _LIBRARIES not in one.get("tags", ())]
    yield re.compile(_PLAIN)
    for first in range(0, len(patterns), _PATTERNS_AT_ONCE):
        yield re.compile("|".join(patterns[first : first + _PATTERNS_AT_ONCE]))


_SEARCHES: Final = tuple(expression.search for expression in _expressions())


def is_declared(user_agent: str) -> bool:
    """Whether this User-Agent is a bot's; a new one takes some 0.2 ms."""
    return _names_a_bot(user_agent[:_SEEN_CHARS])


@lru_cache(maxsize=4096)
def _names_a_bot(beginning: str) -> bool:
    return bool(beginning) and any(search(beginning) for search in _SEARCHES)
