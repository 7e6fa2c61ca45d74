"""Who may change the node's state through the admin listener.

The token's file is read when a worker starts; SIGHUP renews the workers, and so reads it again.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from aiohttp import hdrs, web

from edge.problems import problem


class AdminToken:
    """secret: what a request must bring as a bearer token (RFC 6750, 2.1). None: anybody who can connect may."""

    def __init__(self, secret: bytes | None) -> None:
        self._secret = secret

    @classmethod
    def read(cls, file: Path | None) -> AdminToken:
        """The token in a file, without white space around it; no file, no token.

        Raises ValueError when the file holds none: an empty secret would be no secret. Raises OSError.
        """
        if file is None:
            return cls(None)
        secret = file.read_bytes().strip()
        if not secret:
            raise ValueError(f"{str(file)!r} is empty; allowed: a file that holds the token")
        return cls(secret)

    def refusal(self, request: web.Request) -> web.Response | None:
        """The answer to a request that may not change anything; None for one that may."""
        if hdrs.ORIGIN in request.headers:
            # No page is served here, so this is some other site's page in an operator's browser.
            return problem(403, "requests from web pages may not change anything here")
        if self._secret is None or self._is_right(request.headers.get(hdrs.AUTHORIZATION, "")):
            return None
        return problem(
            401,
            "changing anything here needs the admin token: Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": 'Bearer realm="smartedu-edge admin"'},
        )

    def _is_right(self, field: str) -> bool:
        scheme, _, token = field.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return scheme.lower() == "bearer" and hmac.compare_digest(given, self._secret or b"")
