"""How far a publisher is, as people see it."""

from __future__ import annotations

import io

from origin.progress import BarReporter


def test_a_bar_names_any_file_as_it_is_called() -> None:
    out = io.StringIO()
    with BarReporter(out) as bars:
        bars.stage("a: reading take [/b] 2 :smile:.mp4", 0)
    assert "take [/b] 2 :smile:.mp4" in out.getvalue()
