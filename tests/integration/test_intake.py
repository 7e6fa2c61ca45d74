"""What becomes of a body between the handler and the journal: who is counted as what, and that nothing is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from edge.counters.allowance import Allowances
from edge.counters.event import Agent, BodyError, Place
from edge.counters.intake import Bot, Intake
from edge.counters.journal import Journal, JournalError
from edge.counters.label import Home
from edge.counters.outliers import Outliers
from edge.counters.record import decode, head
from tests.support.counting import PROVINCE, Wall, event

LIMIT = 3
HOME = Place(PROVINCE, "CN")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = await Journal.open(
        tmp_path / "0",
        Home(PROVINCE, "edge-1/0"),
        wall=Wall(),
        monotonic=time.monotonic,
        max_bytes=1024 * 1024,
        provinces=["00"],
    )
    yield made
    await made.close()


@pytest.fixture
def outliers() -> Outliers:
    return Outliers(per_viewer=LIMIT, per_client=10 * LIMIT, now=time.monotonic)


def body(*events: dict[str, object]) -> bytes:
    return orjson.dumps({"events": events})


def views(number: int, viewer: str) -> list[dict[str, object]]:
    at_ms = int(time.time() * 1000) // 60_000 * 60_000
    return [event(viewer=viewer, at_ms=at_ms) for _ in range(number)]


def written(journal: Journal) -> Counter[tuple[Place, Agent]]:
    """Events on disk, by what their records say of them."""
    found: Counter[tuple[Place, Agent]] = Counter()
    for payload, _ in journal.view().read(0).frames:
        said = head(payload, PROVINCE)
        found[said.place, said.agent] += len(list(decode(payload)))
    return found


async def test_events_without_a_place_are_of_the_journals_own_province(journal: Journal) -> None:
    await Intake(journal).accept(body(event(), event()))
    await Intake(journal).accept(body(event()), Place("00", "SG"))
    assert written(journal) == {(HOME, Agent.HUMAN): 2, (Place("00", "SG"), Agent.HUMAN): 1}


async def test_a_declared_bot_is_accepted_and_counted_apart(journal: Journal, outliers: Outliers) -> None:
    receipt = await Intake(journal, outliers=outliers).accept(body(event(), event(kind="?")), agent=Agent.BOT)
    assert (receipt.accepted, len(receipt.rejected), receipt.bots, receipt.given_away) == (1, 1, 1, Bot.DECLARED)
    assert written(journal) == {(HOME, Agent.BOT): 1}


async def test_of_a_body_with_an_outlier_in_it_the_others_stay_human(journal: Journal, outliers: Outliers) -> None:
    intake = Intake(journal, outliers=outliers)
    receipt = await intake.accept(body(*views(LIMIT + 1, "hasty"), *views(LIMIT, "calm"), event(kind="visit")))
    assert (receipt.accepted, receipt.bots, receipt.given_away) == (2 * LIMIT + 2, LIMIT + 1, Bot.VIEWER)
    assert written(journal) == {(HOME, Agent.HUMAN): LIMIT + 1, (HOME, Agent.BOT): LIMIT + 1}


async def test_a_client_far_beyond_any_school_is_a_bot_whatever_viewers_it_makes_up(
    journal: Journal, outliers: Outliers
) -> None:
    intake = Intake(journal, outliers=outliers)
    for number in range(10 * LIMIT):
        assert not (await intake.accept(body(*views(1, f"viewer-{number}")), client="192.0.2.1")).bots
    beyond = await intake.accept(body(*views(1, "another")), client="192.0.2.1")
    assert beyond.given_away is Bot.CLIENT
    assert not (await intake.accept(body(*views(1, "another")), client="192.0.2.2")).bots
    assert written(journal) == {(HOME, Agent.HUMAN): 10 * LIMIT + 1, (HOME, Agent.BOT): 1}


async def test_a_client_that_is_refused_and_comes_again_is_no_outlier(tmp_path: Path, outliers: Outliers) -> None:
    full = await Journal.open(
        tmp_path / "full", Home(PROVINCE, "edge-1/0"), wall=Wall(), monotonic=time.monotonic, max_bytes=10
    )
    refusing = Intake(full, outliers=outliers)
    for _ in range(100):
        with pytest.raises(JournalError):
            await refusing.accept(body(*views(LIMIT, "patient")), client="192.0.2.1")
    await full.close()
    roomy = await Journal.open(
        tmp_path / "roomy", Home(PROVINCE, "edge-1/0"), wall=Wall(), monotonic=time.monotonic, max_bytes=1024 * 1024
    )
    receipt = await Intake(roomy, outliers=outliers).accept(body(*views(LIMIT, "patient")), client="192.0.2.1")
    assert (receipt.accepted, receipt.bots) == (LIMIT, 0)
    await roomy.close()


async def test_a_client_pays_for_all_that_it_sends_good_or_bad(journal: Journal) -> None:
    now = [0.0]
    intake = Intake(journal, allowances=Allowances(1.0, now=lambda: now[0]))
    await intake.accept(body(*views(50, "a"), *[event(kind="?")] * 9), client="a")
    assert intake.wait_s("a") == 0
    with pytest.raises(BodyError):
        await intake.accept(b"{", client="a")
    assert 0 < intake.wait_s("a") <= 1
    assert intake.wait_s("b") == 0
    now[0] += intake.wait_s("a")
    assert intake.wait_s("a") == 0


async def test_a_clock_that_steps_refuses_by_the_nodes_time_and_loses_nothing(tmp_path: Path) -> None:
    wall = Wall()
    journal = await Journal.open(
        tmp_path / "0", Home(PROVINCE, "edge-1/0"), wall=wall, monotonic=time.monotonic, max_bytes=1024 * 1024
    )
    intake = Intake(journal)
    accepted = 0
    for ahead_s in (0, -300, 300, -3600, 3600, -86_400 * 2, 86_400 * 2, 0):
        wall.ahead_s = ahead_s
        now_ms = journal.stamp_ms()  # what the node believes; small steps back are waited out
        receipt = await intake.accept(
            body(event(at_ms=now_ms), event(at_ms=now_ms + 60_001), event(at_ms=now_ms - 86_400_001))
        )
        assert len(receipt.rejected) in (1, 2)  # a ms may pass meanwhile
        accepted += receipt.accepted
    assert sum(written(journal).values()) == accepted >= 8
    await journal.close()


async def test_an_event_of_a_province_that_the_node_does_not_serve_is_not_promised(journal: Journal) -> None:
    with pytest.raises(JournalError):
        await Intake(journal).accept(body(event()), Place("11", "CN"))
    assert not written(journal)
