"""Cases in which the edge knowingly does something else: case id -> why. Each is tested to deviate really."""

from __future__ import annotations

DEVIATIONS: dict[str, str] = {}
