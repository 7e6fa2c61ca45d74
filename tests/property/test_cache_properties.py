"""The pure parts of the cache against the RFCs' own formulas."""

from __future__ import annotations

import itertools
from email.utils import formatdate

from hypothesis import assume, given
from hypothesis import strategies as st

from edge.cache.conditional import shape
from edge.cache.directives import parse
from edge.cache.freshness import Verdict, assess, decide, freshened, head_of, initial_age, usable_on_error
from edge.cache.model import Conditions, Entry
from edge.cache.ranges import Part, Unsatisfiable, parse_content_range, select

SECONDS = st.integers(0, 10**9)
OFFSETS = st.integers(0, 10**6)
BODIES = st.binary(max_size=200)


@given(OFFSETS, OFFSETS, OFFSETS)
def test_a_bounded_range_is_what_slicing_gives(first: int, last: int, total: int) -> None:
    try:
        part = select(f"bytes={first}-{last}", total)
    except Unsatisfiable:
        assert first >= total
        return
    if part is None:
        assert last < first
    else:
        assert range(total)[first : last + 1] == range(part.first, part.last + 1)


@given(st.integers(0, 300), BODIES)
def test_a_suffix_range_is_the_end_of_the_body(length: int, body: bytes) -> None:
    try:
        part = select(f"bytes=-{length}", len(body))
    except Unsatisfiable:
        assert length == 0 or not body
        return
    assert part is not None
    assert body[part.first : part.last + 1] == body[-length:]


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(1, 299), max_size=8))
def test_parts_reassemble_to_the_body(body: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    again = b""
    for first, end in itertools.pairwise(edges):
        part = select(f"bytes={first}-{end - 1}", len(body))
        assert part == Part(first, end - 1)
        assert parse_content_range(part.content_range(len(body))) == (part, len(body))
        again += body[part.first : part.last + 1]
    assert again == body


@given(st.text(max_size=40), st.integers(0, 1000))
def test_no_range_field_ever_selects_outside_the_body(field: str, total: int) -> None:
    try:
        part = select(field, total)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part.first <= part.last < total


@given(SECONDS, SECONDS, SECONDS, SECONDS, st.floats(0, 4e9))
def test_the_verdict_is_the_rfcs_comparison(life: int, swr: int, sie: int, age: int, later: float) -> None:
    control = f"max-age={life}, stale-while-revalidate={swr}, stale-if-error={sie}"
    head = head_of(200, (("cache-control", control), ("age", str(age)), ("etag", '"e"')), now=0.0, wall=0.0)
    current_age = age + later
    verdict = decide(Entry(head, b""), later)
    assert (verdict is Verdict.HIT) == (life > current_age)
    assert (verdict is Verdict.STALE_HIT) == (life <= current_age < life + swr)
    assert usable_on_error(head, later) == (current_age < life + sie)


@given(st.integers(0, 2**31), st.integers(0, 10**6), st.integers(-(10**6), 10**6), st.floats(0, 1000))
def test_initial_age_is_the_rfcs_formula(wall: int, age: int, skew: int, delay: float) -> None:
    assume(0 <= wall - skew < 2**32)
    headers = (("date", formatdate(wall - skew, usegmt=True)), ("age", str(age)))
    assert initial_age(headers, wall=wall, response_delay_s=delay) == max(0, skew, age + delay)


@given(st.lists(st.text(max_size=40), max_size=4))
def test_any_cache_control_gives_lifetimes_that_are_not_negative(lines: list[str]) -> None:
    said = parse(lines)
    assert all(value is None or value >= 0 for value in (said.max_age_s, said.s_maxage_s))
    freshness = assess(200, tuple(("cache-control", line) for line in lines), wall=0.0)
    assert freshness.lifetime_s >= 0


@given(st.lists(st.sampled_from(["max-age=5", "no-store", "private", "public", 'x="no-store"', "immutable"])))
def test_order_and_splitting_of_directives_do_not_matter(members: list[str]) -> None:
    assert parse([", ".join(members)]) == parse(members) == parse(members[::-1])


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.text("xyz", max_size=3)), max_size=6),
    st.lists(st.tuples(st.sampled_from("abc"), st.text("xyz", max_size=3)), max_size=6),
)
def test_freshening_keeps_every_field_once_from_its_newest_source(
    stored: list[tuple[str, str]], update: list[tuple[str, str]]
) -> None:
    merged = freshened(tuple(stored), tuple(update))
    for name in "abc":
        source = update if any(known == name for known, _ in update) else stored
        assert [value for known, value in merged if known == name] == [
            value for known, value in source if known == name
        ]


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_no_condition_makes_judging_fail(match: str, since: str, within: str) -> None:
    head = head_of(200, (("etag", '"e"'), ("content-length", "9")), now=0.0, wall=0.0)
    verdict = shape(head, Conditions(match, since, since, match, within, since))
    assert verdict.status in (200, 206, 304, 412, 416)
