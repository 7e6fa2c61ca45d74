"""Field lines as they are stored, and the lists within them (RFC 9110, 5.3 and 5.6.1)."""

from __future__ import annotations

import re

from origin.reader import Headers

OWS = " \t"
"""Optional whitespace (5.6.3)."""

_CLOSED = re.compile(r'(?:[^"]|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)
_MEMBER = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*+")++', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)

Lines = dict[str, list[str]]
"""The values of a message's field lines by lower-case name, in order."""


def gathered(headers: Headers) -> Lines:
    """All field lines by name."""
    lines: Lines = {}
    for name, value in headers:
        if name in lines:
            lines[name].append(value)
        else:
            lines[name] = [value]
    return lines


def members(text: str) -> list[str]:
    """The members of a list, stripped, without empty ones; a comma within a quoted string parts nothing."""
    if '"' not in text:
        parts = text.split(",")
    else:
        # A quote that is never closed opens nothing, so that it hides no member after it. In two steps, because a
        # pattern that tried each quote as one that opens nothing would take quadratic time.
        match = _CLOSED.match(text)
        end = match.end() if match is not None else 0
        parts = _MEMBER.findall(text[:end] + text[end:].replace('"', ""))
    return [stripped for part in parts if (stripped := part.strip(OWS))]


def unquoted(text: str) -> str:
    """The content of a quoted string (5.6.4); anything else as it is."""
    match = _QUOTED.fullmatch(text)
    return text if match is None else _QUOTED_PAIR.sub(r"\1", match[1])


def first(lines: Lines, name: str) -> str | None:
    """The first field line of that name."""
    values = lines.get(name)
    return values[0] if values else None
