"""Secrets that a request brings as a bearer token (RFC 6750, 2.1).

A token's file is read when a worker starts; SIGHUP renews the workers, and so reads it again.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from aiohttp import hdrs, web

from edge.problems import problem


def secret_in(file: Path) -> bytes:
    """The token in a file, without white space around it.

    Raises ValueError when the file holds none: an empty secret would be no secret. Raises OSError.
    """
    secret = file.read_bytes().strip()
    if not secret:
        raise ValueError(f"{str(file)!r} is empty; allowed: a file that holds the token")
    return secret


def brings(request: web.Request, secret: bytes) -> bool:
    """Whether the request brings the secret; how long that takes does not depend on how much of it is right."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    given = token.strip().encode("utf-8", "surrogateescape")
    return scheme.lower() == "bearer" and hmac.compare_digest(given, secret)


class ReadToken:
    """Who may read counts. secret: what a request must bring; None: anybody may read, pages of other sites, too."""

    def __init__(self, secret: bytes | None) -> None:
        self._secret = secret

    @classmethod
    def read(cls, file: Path | None) -> ReadToken:
        """The token in a file; no file, no token. Raises ValueError for an empty file, OSError."""
        return cls(secret_in(file) if file is not None else None)

    @property
    def fields(self) -> dict[str, str]:
        """Header fields of every answer."""
        return {"Access-Control-Allow-Origin": "*"} if self._secret is None else {"Vary": hdrs.AUTHORIZATION}

    def refusal(self, request: web.Request) -> web.Response | None:
        """The answer to a request that may not read; None for one that may."""
        if self._secret is None or brings(request, self._secret):
            return None
        wrong = ', error="invalid_token"' if hdrs.AUTHORIZATION in request.headers else ""
        return problem(
            401,
            "reading counts needs the token of this node: Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": f'Bearer realm="smartedu-edge counts"{wrong}', **self.fields},
        )
