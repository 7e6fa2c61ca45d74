"""Days of a province on a real cluster, whose keys lie on a node that is not the first one asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.counters.event import place_in
from edge.counters.history import HistoryError
from edge.counters.province_day import ProvinceDays
from edge.counters.sink import open_client
from tests.support.counting import event, writer
from tests.support.history import DAY
from tests.support.valkey_cluster import valkey_cluster
from tests.support.waiting import eventually


async def test_days_are_read_out_of_a_cluster_at_one_moment_and_closed_by_its_clock(tmp_path: Path) -> None:
    async with (
        valkey_cluster(tmp_path / "cluster", append_only=True) as cluster,
        writer(tmp_path, cluster.urls, provinces=("12", "44")) as one,
    ):
        await one.accept(event(), event(kind="visit"), place=place_in("12"))
        await eventually(lambda: one.flusher.state().connected and one.flusher.state().pending_bytes == 0, within_s=30)
        client = open_client(cluster.urls)
        days = ProvinceDays(client, "12")
        standing = await days.standing()
        assert standing.through is None
        assert standing.first is not None
        look = await days.look(standing.first)
        assert (look.sums.views, look.sums.visits) == (1, 1)
        assert look.countries["CN"] == look.sums
        with pytest.raises(HistoryError, match="may still come"):
            await days.close(standing.first, look, 60)
        over = standing.first - 3 * DAY
        await days.close(over, await days.look(over), 60)
        assert (await days.standing()).through == over
        assert await days.is_on_disk()
        await client.aclose()
