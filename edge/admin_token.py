"""Who may change the node's state through the admin listener.

The token's file is read when a worker starts; SIGHUP renews the workers, and so reads it again.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import hdrs, web

from edge.bearer import brings, secret_in
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
        return cls(secret_in(file) if file is not None else None)

    def refusal(self, request: web.Request) -> web.Response | None:
        """The answer to a request that may not change anything; None for one that may."""
        if hdrs.ORIGIN in request.headers:
            # No page is served here, so this is some other site's page in an operator's browser.
            return problem(403, "requests from web pages may not change anything here")
        if self._secret is None or brings(request, self._secret):
            return None
        return problem(
            401,
            "changing anything here needs the admin token: Authorization: Bearer TOKEN",
            headers={"WWW-Authenticate": 'Bearer realm="smartedu-edge admin"'},
        )
