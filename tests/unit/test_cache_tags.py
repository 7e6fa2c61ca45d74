"""What a response can be purged by: surrogate keys and cache groups (RFC 9875)."""

from __future__ import annotations

import pytest

from edge.cache import tags
from edge.cache.freshness import head_of
from origin.reader import Headers


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), ()),
        ((("surrogate-key", "a b  c"),), ("a", "b", "c")),
        ((("surrogate-key", "a"), ("surrogate-key", "b a")), ("a", "b")),
        ((("cache-groups", '"x", "y z";p=1'),), ("x", "y z")),
        ((("cache-groups", '"X", "x"'),), ("X", "x")),
        ((("surrogate-key", "a"), ("cache-groups", '"a", "b"')), ("a", "b")),
        ((("cache-groups", "x, y"),), ()),
        ((("cache-groups", '"x", 5'),), ()),
        ((("surrogate-key", ""), ("cache-groups", "")), ()),
    ],
)
def test_tags_are_the_words_of_surrogate_keys_and_the_strings_of_cache_groups(
    headers: Headers, expected: tuple[str, ...]
) -> None:
    assert tags.of(headers) == expected
    assert tags.fit(headers)


def groups(count: int, chars: int) -> Headers:
    return (("cache-groups", ", ".join(f'"{number:0{chars}}"' for number in range(count))),)


@pytest.mark.parametrize(("count", "chars"), [(32, 32), (tags.MAX_TAGS, 5), (1, tags.MAX_TAG_CHARS)])
def test_as_many_groups_as_the_rfc_asks_for_and_more_are_kept(count: int, chars: int) -> None:
    assert len(tags.of(groups(count, chars))) == count


@pytest.mark.parametrize(
    "headers", [groups(tags.MAX_TAGS + 1, 5), (("surrogate-key", "k" * (tags.MAX_TAG_CHARS + 1)),)]
)
def test_a_response_whose_tags_cannot_all_be_kept_is_not_stored(headers: Headers) -> None:
    assert not tags.fit(headers)
    with pytest.raises(ValueError, match="more tags"):
        tags.of(headers)
    head = head_of(200, (("cache-control", "max-age=60"), *headers), now=0, wall=0)
    assert (head.freshness.storable, head.tags) == (False, ())
    assert head.freshness.reason == "more tags than are kept"
