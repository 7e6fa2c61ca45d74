"""The record of a stored value: it comes back as it was, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.cache import record
from edge.cache.freshness import described
from edge.cache.model import CacheKey, Entry, Freshness, Layout, Stored, Varying
from edge.cache.record import DamageError, Pieces

NOW, WALL = 1000.0, 1_764_000_000.0

TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
NAMES = st.from_regex(r"x-[a-z]{1,10}", fullmatch=True)
SECONDS = st.floats(0, 1e9)
KEYS = st.builds(CacheKey, TEXT.map("/".__add__), st.sampled_from(["", "v:1f", "b:aa:7"]))
FRESHNESS = st.builds(
    Freshness,
    storable=st.just(True),
    lifetime_s=SECONDS,
    stale_while_revalidate_s=SECONDS,
    stale_if_error_s=SECONDS,
    must_revalidate=st.booleans(),
    validate_always=st.booleans(),
)
FIELDS = st.lists(
    st.tuples(NAMES, TEXT) | st.just(("etag", '"e"')) | st.just(("vary", "accept")) | st.just(("surrogate-key", "a b"))
)


@st.composite
def heads(draw: st.DrawFn, length: int) -> object:
    fields = (*draw(FIELDS), ("content-length", str(length)))
    born = NOW - draw(st.floats(0, 1e8))
    return described(draw(st.integers(200, 599)), fields, born=born, freshness=draw(FRESHNESS))


@st.composite
def values(draw: st.DrawFn) -> Stored:
    mark = draw(st.integers(0, 2**53))
    kind = draw(st.sampled_from([Entry, Layout, Varying]))
    if kind is Varying:
        return Varying(tuple(map(tuple, draw(st.lists(st.lists(NAMES, max_size=3), max_size=4)))), mark)
    body = draw(st.binary(max_size=300))
    head = draw(heads(len(body)))
    if kind is Layout:
        return Layout(head, draw(st.integers(1, 2**40)), mark)  # type: ignore[arg-type]
    return Entry(head, body, mark)  # type: ignore[arg-type]


def sealed(key: CacheKey, value: Stored, pieces: Pieces | None = None) -> bytes:
    return b"".join(record.seal(key, value, mark=str(value.mark), now=NOW, wall=WALL, pieces=pieces))


def opened(data: bytes, *, later_s: float = 0.0) -> Stored:
    """As a tier opens it that finds it `later_s` after it was sealed, after a restart of the machine."""
    cover = record.cover(data)
    if cover.size != len(data):
        raise DamageError("size")
    return cover.value(data[cover.body_at :], mark=int(cover.mark), now=5.0 + later_s, wall=WALL + later_s)


@given(KEYS, values(), st.floats(0, 1e6))
def test_what_was_sealed_is_what_is_opened_and_it_has_grown_older(key: CacheKey, value: Stored, later_s: float) -> None:
    data = sealed(key, value)
    found = opened(data, later_s=later_s)
    assert record.cover(data).key == key
    if isinstance(value, Varying):
        assert found == value
        return
    assert not isinstance(found, Varying)
    assert found.head.age_s(5.0 + later_s) == pytest.approx(value.head.age_s(NOW) + later_s, abs=1e-3)
    assert replace(found, head=replace(found.head, born=0.0)) == replace(value, head=replace(value.head, born=0.0))


@given(KEYS, values(), st.data())
def test_a_changed_byte_anywhere_is_noticed(key: CacheKey, value: Stored, data: st.DataObject) -> None:
    whole = sealed(key, value)
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(1, 255))
    changed = whole[:at] + bytes([whole[at] ^ other]) + whole[at + 1 :]
    with pytest.raises(DamageError):
        opened(changed)


@given(KEYS, values(), st.data())
def test_a_record_cut_anywhere_or_with_anything_behind_it_is_noticed(
    key: CacheKey, value: Stored, data: st.DataObject
) -> None:
    whole = sealed(key, value)
    with pytest.raises(DamageError):
        opened(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DamageError):
        opened(whole + data.draw(st.binary(min_size=1, max_size=50)))


@given(KEYS, values(), st.data())
def test_a_torn_file_is_noticed(key: CacheKey, value: Stored, data: st.DataObject) -> None:
    """After a power cut the end of a file may be zeros."""
    whole = sealed(key, value)
    torn = whole[: data.draw(st.integers(0, len(whole) - 1))].ljust(len(whole), b"\0")
    if torn != whole:
        with pytest.raises(DamageError):
            opened(torn)


@given(st.binary(max_size=200))
@example(b"SEC2" + bytes(28))
@example(b"SEC2" + b"\xff" * 60)
def test_arbitrary_bytes_are_no_record_and_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(DamageError):
        opened(data)


@given(st.binary(max_size=2000), st.integers(1, 300))
def test_pieces_put_together_are_the_body(body: bytes, size: int) -> None:
    head = described(200, (), born=NOW, freshness=Freshness(storable=True, lifetime_s=9.0))
    cover = record.cover(sealed(CacheKey("/a"), Entry(head, body), Pieces("token", size)))
    pieces = record.cut(body, size)
    assert cover.pieces is not None
    assert len(pieces) == 1 + cover.pieces.beyond_first(len(body))
    assert all(len(piece) <= size for piece in pieces)
    found = cover.value(b"".join(pieces), mark=0, now=NOW, wall=WALL)
    assert isinstance(found, Entry)
    assert found.body == body
