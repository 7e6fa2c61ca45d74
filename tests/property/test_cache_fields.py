"""Field values of every legal spelling, and of none: lists, directives, dates, tags, Vary, references."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import formatdate

import orjson
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge.cache import tags, vary
from edge.cache.dates import http_date, written
from edge.cache.directives import MAX_DELTA_S, arguments_in, parse, parse_request
from edge.cache.fields import members, unquoted
from edge.cache.freshness import head_of
from edge.cache.invalidation import uris
from edge.cache.packed import loads, pack, unpack
from edge.cache.structured import dictionary, strings
from edge.cache.validators import entity_tag, matches
from origin.reader import Headers

WALL = 1_800_000_000.0
TEXTS = st.text(st.characters(exclude_categories=()), max_size=60)
ODD = st.text(st.sampled_from('"\\,=; \tmax-age05no-store*/W'), max_size=60)
OWS = st.text(" \t", max_size=2)
TOKENS = st.text("abcXYZ059!#$%&'*+-.^_`|~", min_size=1, max_size=8)
QUOTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12)


def recased(text: str, mask: int) -> str:
    return "".join(char.upper() if mask >> at & 1 else char.lower() for at, char in enumerate(text))


@st.composite
def quoted(draw: st.DrawFn, text: str) -> str:
    """The text as a quoted string; characters that need no backslash may have one."""
    escaped = (f"\\{char}" if char in '\\"' or draw(st.booleans()) else char for char in text)
    return f'"{"".join(escaped)}"'


@st.composite
def spread(draw: st.DrawFn, written_members: list[str]) -> list[str]:
    """A list's members with empty ones and white space between, over one or more field lines."""
    lines: list[list[str]] = [[]]
    for member in written_members:
        if draw(st.booleans()):
            lines.append([])
        lines[-1] += [""] * draw(st.integers(0, 2)) + [f"{draw(OWS)}{member}{draw(OWS)}"]
    return [",".join(line) for line in lines]


# -- lists and directives ------------------------------------------------------------------------------------------


@st.composite
def directives(draw: st.DrawFn) -> tuple[list[str], dict[str, str | None]]:
    """Field lines, and the directives that they are."""
    meant = draw(st.dictionaries(TOKENS.map(str.lower), st.none() | TOKENS | QUOTABLE, max_size=5))
    spelled = []
    for name, argument in meant.items():
        spelling = recased(name, draw(st.integers(0, 255)))
        if argument is not None:
            plain = argument != "" and all(
                char.isascii() and (char.isalnum() or char in "!#$%&'*+-.^_`|~") for char in argument
            )
            spelling += "=" + (argument if plain and draw(st.booleans()) else draw(quoted(argument)))
        spelled.append(spelling)
    return draw(spread(spelled)), meant


@given(directives())
def test_directives_of_every_legal_spelling_are_read_as_meant(
    written_and_meant: tuple[list[str], dict[str, str | None]],
) -> None:
    lines, meant = written_and_meant
    assert arguments_in(",".join(lines)) == meant


@given(
    st.lists(
        st.sampled_from(["no-store", "private", "no-cache", "public", "must-revalidate", 'x="no-store"', "immutable"])
    ),
    st.data(),
)
def test_order_splitting_and_repetition_of_flags_do_not_matter(flags: list[str], data: st.DataObject) -> None:
    assert parse(data.draw(spread(flags))) == parse(flags) == parse([*flags[::-1], *flags])


@given(st.integers(0, 10**30), st.integers(0, 9), st.sampled_from(["{}", '"{}"']))
def test_a_number_of_seconds_counts_up_to_the_largest(seconds: int, zeros: int, form: str) -> None:
    text = form.format("0" * zeros + str(seconds))
    assert parse([f"max-age={text}"]).max_age_s == min(seconds, MAX_DELTA_S)
    assert parse_request([f"min-fresh={text}"]).min_fresh_s == min(seconds, MAX_DELTA_S)


@given(st.lists(TEXTS | ODD, max_size=4))
@example(['"' * 9999])
@example(['"\\' * 9999])
@example([","] * 999)
def test_no_text_makes_parsing_fail(lines: list[str]) -> None:
    said, asked = parse(lines), parse_request(lines, lines)
    deltas = (said.max_age_s, said.s_maxage_s, said.stale_while_revalidate_s, said.stale_if_error_s)
    assert all(delta is None or 0 <= delta <= MAX_DELTA_S for delta in deltas)
    assert asked.max_stale_s is None or 0 <= asked.max_stale_s <= math.inf
    assert all(member == member.strip(" \t") != "" for member in members(",".join(lines)))


@given(TEXTS | ODD, ODD)
def test_nothing_hides_a_prohibition_that_begins_a_line_of_its_own(before: str, after: str) -> None:
    assume(before.count('"') == 0)
    assert parse([before, "no-store", after]).no_store


@given(QUOTABLE.flatmap(lambda text: st.tuples(st.just(text), quoted(text))))
def test_what_was_quoted_comes_out(text_and_quoted: tuple[str, str]) -> None:
    assert unquoted(text_and_quoted[1]) == text_and_quoted[0]


@given(st.lists(TEXTS | ODD, max_size=3))
def test_no_text_makes_a_structured_field_fail(lines: list[str]) -> None:
    assert all(isinstance(text, str) for text in strings(lines))
    assert all(isinstance(name, str) for name in dictionary(lines))


@given(st.lists(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40), max_size=40))
def test_groups_come_out_as_they_were_written(groups: list[str]) -> None:
    line = ", ".join('"' + group.replace("\\", "\\\\").replace('"', '\\"') + '"' for group in groups)
    assert tags.of((("cache-groups", line),)) == tuple(dict.fromkeys(groups))


# -- dates ---------------------------------------------------------------------------------------------------------


@given(st.integers(-(10**10), 2 * 10**11), st.integers(0, 2**20))
def test_a_date_is_read_back_in_each_form_and_any_case(instant: int, mask: int) -> None:
    when = datetime.fromtimestamp(instant, tz=UTC)
    fixdate = formatdate(instant, usegmt=True)
    assert http_date(recased(fixdate, mask), wall=WALL) == instant
    assert http_date(f"{when:%a %b} {when.day:2d} {when:%H:%M:%S} {when.year:04d}", wall=WALL) == instant
    two_digits = http_date(f"{when:%A, %d-%b}-{when.year % 100:02d} {when:%H:%M:%S} GMT", wall=instant)
    assert two_digits == instant


@given(st.integers(0, 4 * 10**9), st.integers(0, 4 * 10**9))
def test_a_two_digit_year_is_the_latest_at_most_fifty_years_ahead(instant: int, wall: int) -> None:
    when = datetime.fromtimestamp(instant, tz=UTC)
    assume((when.month, when.day) != (2, 29))
    read = http_date(f"{when:%A, %d-%b-%y %H:%M:%S} GMT", wall=wall)
    now = datetime.fromtimestamp(wall, tz=UTC)
    assume((now.month, now.day) != (2, 29))
    assert read is not None
    then = datetime.fromtimestamp(read, tz=UTC)
    assert then.year % 100 == when.year % 100
    assert now.replace(year=now.year - 50) < then <= now.replace(year=now.year + 50)


@given(TEXTS | st.text("SunMoDec, 0123456789-:GMT", max_size=40))
def test_no_text_makes_a_date_fail(text: str) -> None:
    instant = http_date(text, wall=WALL)
    assert instant is None or isinstance(instant, float)


@given(st.integers(0, 10**11))
def test_a_date_is_written_as_it_is_read(instant: int) -> None:
    assert http_date(written(instant), wall=WALL) == instant


# -- entity tags ---------------------------------------------------------------------------------------------------

OPAQUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f'), max_size=6)
ENTITY_TAGS = st.tuples(st.sampled_from(["", "W/"]), OPAQUE).map(lambda pair: f'{pair[0]}"{pair[1]}"')


@given(st.lists(ENTITY_TAGS, min_size=1, max_size=5), ENTITY_TAGS, st.booleans(), st.data())
def test_a_list_of_tags_matches_as_its_members_do(
    listed: list[str], known: str, strong: bool, data: st.DataObject
) -> None:
    if data.draw(st.booleans()):
        listed.append(known)
    field = ",".join(data.draw(spread(listed)))
    if strong:
        expected = not known.startswith("W/") and known in listed
    else:
        expected = known.removeprefix("W/") in [tag.removeprefix("W/") for tag in listed]
    assert matches(field, known, strong=strong) == expected


@given(TEXTS | ODD)
def test_an_entity_tag_is_itself_or_none(text: str) -> None:
    assert entity_tag(text) in (None, text.strip(" \t"))
    assert not matches(text, '"not in there"', strong=False) or text.strip(" \t") == "*"


# -- Vary ----------------------------------------------------------------------------------------------------------

CODINGS = st.dictionaries(
    st.sampled_from(["gzip", "br", "zstd", "deflate", "identity", "*"]), st.integers(0, 1000), max_size=5
)


def weighted(what: str, thousandths: int) -> str:
    return what if thousandths == 1000 else f"{what};q={thousandths / 1000:.3f}".rstrip("0").rstrip(".")


@given(CODINGS, st.data())
def test_accept_encoding_is_one_whatever_its_spelling(codings: dict[str, int], data: st.DataObject) -> None:
    plain = ", ".join(weighted(coding, weight) for coding, weight in codings.items())
    order = data.draw(st.permutations(list(codings.items())))
    respelled = data.draw(
        spread(
            [
                recased(weighted(coding, weight), data.draw(st.integers(0, 255))).replace(";", " ; ")
                for coding, weight in order
            ]
        )
    )
    one: Headers = (("accept-encoding", plain),)
    other: Headers = tuple(("accept-encoding", line) for line in respelled)
    assert vary.part(("accept-encoding",), one) == vary.part(("accept-encoding",), other)


@given(CODINGS, CODINGS)
def test_accept_encodings_that_rank_differently_select_differently(one: dict[str, int], other: dict[str, int]) -> None:
    def meaning(codings: dict[str, int]) -> dict[str, int]:
        """What each coding is worth; one that is refused is worth as little as one not named, unless `*` takes all."""
        kept = {coding: weight for coding, weight in codings.items() if weight or coding in ("identity", "*")}
        return codings if codings.get("*") else kept

    parts = [
        vary.part(("accept-encoding",), (("accept-encoding", ", ".join(map(weighted, codings, codings.values()))),))
        for codings in (one, other)
    ]
    assert (parts[0] == parts[1]) == (meaning(one) == meaning(other))


VALUES = st.lists(st.text("ab, ", max_size=4), max_size=2)


@given(st.lists(st.sampled_from(["x", "y", "z"]), unique=True), *[st.tuples(VALUES, VALUES, VALUES)] * 2)
def test_a_part_is_the_same_exactly_where_all_selecting_fields_are(
    selecting: list[str], one: tuple[list[str], ...], other: tuple[list[str], ...]
) -> None:
    def headers(values: tuple[list[str], ...]) -> Headers:
        return tuple((name, line) for name, lines in zip("xyz", values, strict=True) for line in lines)

    def combined(values: tuple[list[str], ...]) -> list[str | None]:
        by_name = dict(zip("xyz", values, strict=True))
        return [", ".join(line.strip() for line in by_name[name]) if by_name[name] else None for name in selecting]

    same = vary.part(selecting, headers(one)) == vary.part(selecting, headers(other))
    assert same == (combined(one) == combined(other))


@given(st.sampled_from(["accept", "accept-encoding", "accept-language", "x"]), TEXTS | ODD)
def test_no_text_makes_vary_fail(name: str, text: str) -> None:
    assert vary.part((name,), ((name, text),)).startswith("v:")
    assert vary.names((("vary", text),)) == vary.names((("vary", text), ("vary", text)))


# -- references, heads on their way --------------------------------------------------------------------------------


@given(st.text(max_size=40) | st.text("/.:@#?[]ahtps ", max_size=40))
def test_whatever_a_location_says_only_paths_of_the_same_origin_are_dropped(reference: str) -> None:
    dropped = uris("POST", "/a", 201, (("location", reference),), "https://edge.example")
    assert dropped[0] == "/a"
    assert all(uri.startswith("/") and "#" not in uri for uri in dropped)


@given(st.lists(st.tuples(TOKENS.map(str.lower), TEXTS), max_size=5), st.integers(0, 10**6))
def test_a_packed_head_comes_back(fields: list[tuple[str, str]], age: int) -> None:
    head = head_of(200, (*fields, ("age", str(age))), now=0.0, wall=WALL)
    assert unpack(loads(orjson.dumps(pack(head, age_s=head.age_s(0.0)))), now=0.0) == head
