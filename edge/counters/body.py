"""A body's bytes -> the JSON document in it, whatever values it holds.

orjson reads nearly everything, and refuses some of what is JSON by RFC 8259: half a surrogate pair (`"\\ud800"`), a
number beyond what a float holds, nesting beyond 1,024. One such member would cost all the other events of its body, so
what orjson refuses is read again by the standard library. Such a document is `odd`: strings in it may be such that no
UTF-8 can be made of them, and numbers may be infinite. Whoever takes values out of one has to look.
"""

from __future__ import annotations

import json
import sys
from typing import Final, NamedTuple, NoReturn

import orjson

# In what orjson says of bodies that are JSON all the same. Only these are read twice: the library is ten times slower.
_REFUSED_JSON: Final = ("surrogate in string", "infinity", "depth limit")
MAX_DEPTH: Final = 3000
"""Some 200 bytes of C stack each."""


class NotJSONError(ValueError):
    """Bytes that are no JSON document; the text says why."""


class Document(NamedTuple):
    """odd: only the standard library can read it."""

    value: object
    odd: bool


def read(body: bytes) -> Document:
    """Raises NotJSONError."""
    try:
        return Document(orjson.loads(body), odd=False)
    except orjson.JSONDecodeError as error:
        said = str(error)
    if any(one in said for one in _REFUSED_JSON):
        return Document(_read_odd(body), odd=True)
    raise NotJSONError(said)


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can be made of it: no surrogate stands alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_odd(body: bytes) -> object:
    limit = sys.getrecursionlimit()
    # The library's reader calls itself for each level, and counts that against the limit for Python code. Nothing is
    # awaited until the limit is as it was.
    sys.setrecursionlimit(limit + MAX_DEPTH)
    try:
        return _ODD.decode(body.decode())  # decoded here: the library would guess at UTF-16, too
    except UnicodeDecodeError as error:
        raise NotJSONError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise NotJSONError(f"nested more than {MAX_DEPTH:,} deep") from None
    except ValueError as error:
        raise NotJSONError(str(error)) from None
    finally:
        sys.setrecursionlimit(limit)


def _whole(digits: str) -> int | float:
    """As orjson: what needs more than 64 bits is a float. That is also quicker for very long numbers."""
    number = int(digits) if len(digits) <= 20 else float(digits)
    return number if -(2**63) <= number < 2**64 else float(number)


def _no_constant(name: str) -> NoReturn:
    """NaN, Infinity and -Infinity are the library's own."""
    raise NotJSONError(f"{name} is not a JSON value")


_ODD: Final = json.JSONDecoder(parse_int=_whole, parse_constant=_no_constant)
