"""Short ways to write answers of the origin and requests of the client.

In both, field lines are plain positional text; a request takes its claims positionally, too:

    reply("Cache-Control: max-age=60", status=404)
    get("Cache-Control: no-cache", fetched(2))
"""

from __future__ import annotations

from typing import Any

from tests.conformance.model import Ask, Claim, Framing, Hold, Reply, Together

LONG = "Cache-Control: max-age=3600"
"""Fresh for longer than any case lasts."""
SPENT = ("Cache-Control: max-age=60", "Age: 100")
"""Stale when it arrives, and no directive forbids or allows to serve it stale."""


def reply(*fields: str, **members: Any) -> Reply:
    """A 200 unless `status` says otherwise."""
    return Reply(fields=fields, **members)


def fresh(*fields: str, **members: Any) -> Reply:
    """A response that may be reused for an hour."""
    return reply(LONG, *fields, **members)


def spent(*fields: str, **members: Any) -> Reply:
    """A response that is stale when it arrives."""
    return reply(*SPENT, *fields, **members)


def empty(status: int, *fields: str, **members: Any) -> Reply:
    """A response that has no body and says nothing about one."""
    return Reply(status=status, fields=fields, body=b"", framing=Framing.NONE, **members)


def not_modified(*fields: str, **members: Any) -> Reply:
    """A 304."""
    return empty(304, *fields, **members)


def held(*fields: str, **members: Any) -> Reply:
    """A response that stops in the middle until all clients of the step have its head."""
    return Reply(fields=fields, hold=Hold.MIDDLE, **members)


def raw(text: str) -> Reply:
    """These bytes (as ISO 8859-1), and the end of the connection. Lines end as written."""
    return Reply(raw=text)


def lines(*parts: str) -> str:
    """Lines that end in CRLF, and the empty line after them."""
    return "".join(part + "\r\n" for part in (*parts, ""))


def ask(method: str, *parts: str | Claim, **members: Any) -> Ask:
    """A request: text parts are field lines, the others claims."""
    fields = tuple(part for part in parts if isinstance(part, str))
    claims = tuple(part for part in parts if isinstance(part, Claim))
    return Ask(method=method, fields=fields, claims=claims, **members)


def get(*parts: str | Claim, **members: Any) -> Ask:
    """A GET."""
    return ask("GET", *parts, **members)


def head(*parts: str | Claim, **members: Any) -> Ask:
    """A HEAD."""
    return ask("HEAD", *parts, **members)


def post(*parts: str | Claim, **members: Any) -> Ask:
    """A POST with a short body."""
    return ask("POST", *parts, **({"body": b"posted"} | members))


def send(text: str, *claims: Claim, **members: Any) -> Ask:
    """A request as raw text (ISO 8859-1); by default the connection is watched for its end."""
    return Ask(method=text.partition(" ")[0], raw=text, claims=claims, **({"until_closed": True} | members))


def together(*asks: Ask) -> Together:
    """Requests sent at the same time."""
    return Together(asks)
