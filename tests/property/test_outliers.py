"""Who sends more views a minute than people can is a bot, for all that it sends; nobody else is one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from edge.counters.event import Kind, ViewEvent
from edge.counters.outliers import MARKED_S, Outliers

LIMIT = 5
MINUTE = 60_000
NOW = 1_764_000_000_000 - 1_764_000_000_000 % MINUTE

events = st.builds(
    ViewEvent,
    id=st.just("id"),
    kind=st.sampled_from(Kind),
    resource=st.just("lesson-1"),
    viewer=st.sampled_from(["", "a", "b", "c"]),
    at_ms=st.integers(NOW - 3 * MINUTE, NOW + MINUTE - 1),
    watched_ms=st.just(0),
)
bodies = st.lists(st.lists(events, max_size=12), max_size=8)


@dataclass
class Now:
    """A clock that goes on when told."""

    at: float = 0.0

    def __call__(self) -> float:
        return self.at


def outliers(
    now: Now | None = None, *, per_viewer: int = LIMIT, per_client: int = 0, max_counted: int = 1000
) -> Outliers:
    return Outliers(per_viewer=per_viewer, per_client=per_client, now=now or Now(), max_counted=max_counted)


def views(number: int, viewer: str = "a", at_ms: int = NOW) -> list[ViewEvent]:
    return [ViewEvent(str(one), Kind.VIEW, "lesson-1", viewer, at_ms, 0) for one in range(number)]


@given(bodies)
def test_a_viewer_is_an_outlier_from_the_body_on_in_which_a_minute_has_too_many_views(
    sent: list[list[ViewEvent]],
) -> None:
    judged = outliers()
    seen: Counter[tuple[str, int]] = Counter()
    excess: set[str] = set()
    for body in sent:
        seen.update((one.viewer, one.at_ms // MINUTE) for one in body if one.kind is Kind.VIEW and one.viewer)
        excess |= {viewer for (viewer, _), count in seen.items() if count > LIMIT}
        assert judged.among(body) == excess & {one.viewer for one in body}


@given(bodies)
def test_a_client_is_an_outlier_from_the_body_on_in_which_a_minute_has_too_many_views(
    sent: list[list[ViewEvent]],
) -> None:
    judged = outliers(per_viewer=0, per_client=LIMIT)
    seen: Counter[int] = Counter()
    for body in sent:
        seen.update(one.at_ms // MINUTE for one in body if one.kind is Kind.VIEW)
        assert judged.holds("client", body) is any(count > LIMIT for count in seen.values())
        assert not judged.holds("other", [])


@given(bodies)
def test_what_was_not_accepted_is_no_excess_however_often_it_is_sent_again(sent: list[list[ViewEvent]]) -> None:
    judged = outliers(per_client=LIMIT)
    for body in sent:
        within = body[:LIMIT]
        for _ in range(5):
            assert not judged.holds("client", within)
            assert not judged.among(within)
            judged.take_back("client", within, viewers=True)


def test_what_a_phone_has_kept_while_it_was_offline_is_no_excess() -> None:
    judged = outliers()
    day = [one for minute in range(24 * 60) for one in views(LIMIT, at_ms=NOW - minute * MINUTE)]
    assert not judged.among(day)


def test_an_outlier_is_one_for_all_kinds_of_events_and_for_minutes_after_its_last_excess() -> None:
    now = Now()
    judged = outliers(now)
    assert judged.among(views(LIMIT + 1)) == {"a"}
    play = [ViewEvent("p", Kind.PLAY, "lesson-1", "a", NOW + 3 * MINUTE, 0)]
    now.at += MARKED_S - 1
    assert judged.among(play) == {"a"}
    now.at += 2
    assert not judged.among(play)


def test_limits_of_zero_are_none() -> None:
    judged = outliers(per_viewer=0, per_client=0)
    assert not judged.among(views(1000))
    assert not judged.holds("client", views(1000))


def test_what_is_remembered_is_bounded_and_the_latest_is_surely_in_it() -> None:
    judged = outliers(max_counted=10)
    for number in range(1000):
        judged.among(views(1, f"viewer-{number}"))
        assert bool(judged.among(views(1, "steady"))) is (number >= LIMIT)
    assert len(judged._viewers._young) <= 10
    assert len(judged._viewers._old) <= 10


@given(bodies)
def test_what_a_marked_client_has_to_send_again_makes_no_room_for_its_viewers(sent: list[list[ViewEvent]]) -> None:
    judged = outliers(per_client=LIMIT)
    assert judged.holds("client", views(LIMIT + 1, viewer=""))
    for body in sent:
        assert judged.holds("client", body)
        judged.take_back("client", body, viewers=False)
    assert judged.among(views(LIMIT)) == frozenset()
    assert judged.among(views(1)) == {"a"}
