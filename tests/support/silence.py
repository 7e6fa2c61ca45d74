"""A reporter for tests that look at what publishing does, not at what it tells."""

from __future__ import annotations


class SilentReporter:
    """Says nothing."""

    def stage(self, title: str, total: float) -> None:
        pass

    def reach(self, amount: float) -> None:
        pass
