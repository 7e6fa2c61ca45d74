"""Canonical targets against an independent reading: a path is a list of segments, each a list of octets or signs."""

from __future__ import annotations

from urllib.parse import quote, unquote, unquote_to_bytes, urljoin

from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from edge.cache.target import MAX_TARGET_BYTES, PREFIXES, BadTarget, canonical, parse

UNRESERVED = "ABCXYZabcxyz019-._~"
RESERVED = ":@!$&'()*+,;=[]"
OTHERS = '"<>^`{|}课'

# A sign of a segment: a character, and whether it is written as an escape. Only for unreserved ones it is all the same.
PLAIN = st.sampled_from(UNRESERVED).map(lambda char: (char, False))
ESCAPED = st.one_of(
    st.integers(0, 255).map(chr).filter(lambda char: char not in UNRESERVED and not char.isalnum()),
    st.sampled_from(RESERVED + "/?#%\\"),
).map(lambda char: (char, True))
SIGN = st.one_of(PLAIN, st.sampled_from(RESERVED).map(lambda char: (char, False)), ESCAPED)
SEGMENT = st.lists(SIGN, max_size=5).map(tuple)
SEGMENTS = st.lists(SEGMENT, min_size=1, max_size=5)
WIRE_TEXT = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
TARGETS = st.one_of(
    WIRE_TEXT,
    WIRE_TEXT.map(lambda text: "/" + text),
    st.text("/.%2eE5fFaA?&=#;+[]\\课{", max_size=30).map(lambda text: "/" + text),
    st.text("/.%2eaA?&=", max_size=30).map(lambda text: "http://edge/" + text),
)


def is_dots(segment: tuple[tuple[str, bool], ...]) -> bool:
    return "".join(char for char, _ in segment) in (".", "..")


def spelled(data: st.DataObject, segments: list[tuple[tuple[str, bool], ...]]) -> str:
    """One of the many ways to write the same path."""
    return "".join("/" + "".join(written(data, char, escaped) for char, escaped in segment) for segment in segments)


def written(data: st.DataObject, char: str, escaped: bool) -> str:
    if not escaped and (char in RESERVED or data.draw(st.booleans())):
        return char
    digits = f"{ord(char):02x}"
    return "%" + (digits.upper() if data.draw(st.booleans()) else digits)


@given(SEGMENTS, SEGMENTS, st.data())
def test_two_spellings_of_a_path_are_one_and_two_paths_are_two(
    one: list[tuple[tuple[str, bool], ...]], other: list[tuple[tuple[str, bool], ...]], data: st.DataObject
) -> None:
    one = [segment for segment in one if not is_dots(segment)] or [()]
    other = [segment for segment in other if not is_dots(segment)] or [()]
    assert canonical(spelled(data, one)) == canonical(spelled(data, one))
    assert (canonical(spelled(data, one)) == canonical(spelled(data, other))) == (one == other)


@given(TARGETS)
@example("/a/..//..%2f%2e%2E/%252e?%26&a=%%341")
def test_what_is_canonical_stays_as_it_is(raw: str) -> None:
    try:
        found = canonical(raw)
    except BadTarget:
        return
    assert canonical(found) == found
    assert found.startswith("/")
    assert len(found) <= MAX_TARGET_BYTES
    assert found.isascii()
    assert found.isprintable()
    assert not set(found) & set(' "<>\\^`{|}#')
    assert not {".", ".."} & set(found.partition("?")[0].split("/"))


@given(TARGETS)
def test_the_query_never_changes_the_path_and_decodes_to_what_came(raw: str) -> None:
    try:
        found = canonical(raw)
    except BadTarget:
        return
    path, mark, query = raw.removeprefix("http://edge").partition("?")
    assert found.partition("?")[0] == canonical(path)
    assert ("?" in found) == bool(mark)
    assert sorted(map(decoded, query.split("&"))) == sorted(map(decoded, found.partition("?")[2].split("&")))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text("xyz&=%+", max_size=3)), max_size=6), st.randoms())
def test_shuffled_parameters_are_one_target(pairs: list[tuple[str, str]], random: object) -> None:
    values = [f"{name}={value.replace('&', '%26').replace('%', '%25')}" for name, value in pairs]
    by_name = {name: [pair for pair in values if pair.startswith(name)] for name in "abc"}
    mixed = [by_name[name].pop(0) for name in random_order(pairs, random)]
    assert canonical("/a?" + "&".join(values)) == canonical("/a?" + "&".join(mixed))


def random_order(pairs: list[tuple[str, str]], random: object) -> list[str]:
    names = [name for name, _ in pairs]
    random.shuffle(names)  # type: ignore[attr-defined]
    return names


@given(st.lists(st.text("a./", max_size=6), min_size=1, max_size=4))
def test_dot_segments_go_as_in_urllib_and_yarl(parts: list[str]) -> None:
    path = "/" + "/".join(parts)
    if "//" not in path:  # urljoin drops empty segments, which are segments to the RFC
        assert canonical(path) == urljoin("http://edge/", path).removeprefix("http://edge")
    assert canonical(path) == URL("http://edge" + path).raw_path


@given(TARGETS)
def test_parameters_that_do_not_count_are_as_if_never_sent(raw: str) -> None:
    try:
        kept = canonical(raw, query_keys=frozenset({"a"}))
    except BadTarget:
        return
    assert kept == canonical(kept, query_keys=frozenset({"a"}))
    names = [pair.partition("=")[0] for pair in kept.partition("?")[2].split("&")]
    assert set(names) <= {"a", ""}


@given(st.binary(max_size=60))
def test_no_published_key_leaves_the_prefixes(tail: bytes) -> None:
    try:
        uri = parse("/media/" + tail.decode("utf-8", "surrogateescape")).uri
    except BadTarget:
        return
    assert uri.startswith(PREFIXES)
    assert parse(uri).uri == uri
    segments = unquote_to_bytes(uri).decode().split("/")[1:]
    assert not {"", ".", ".."} & set(segments)
    assert not any(char in segment for segment in segments for char in "\\\0\r\n\x7f")


@given(st.text(max_size=30))
def test_a_published_name_survives_the_way_to_the_key(name: str) -> None:
    try:
        quoted = quote(name, safe="")
    except UnicodeEncodeError:
        return
    try:
        assert unquote(parse(f"/media/x{quoted}").uri) == f"/media/x{name}"
    except BadTarget:
        # Whatever is refused holds something that a path on its way might be misread for.
        assert any(ord(char) < 32 or 127 <= ord(char) < 160 or char in "/\\%" for char in name)


def decoded(part: str) -> bytes:
    return unquote_to_bytes(part.encode("utf-8", "surrogateescape"))
