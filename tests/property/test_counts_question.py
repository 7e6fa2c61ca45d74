"""Any query string is a question or a refusal that says what is allowed; a span is what was asked, in whole steps."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.counters import question
from edge.counters.counting_day import UTC8
from edge.counters.question import MAX_POINTS, QuestionError, Step

HELD = ("00", "11", "44")
NOW = datetime(2026, 11, 29, 10, 30, 15, tzinfo=UTC8)
NAMES = st.one_of(
    st.sampled_from(
        [
            "metric",
            "day",
            "province",
            "country",
            "section",
            "grade",
            "dimension",
            "limit",
            "offset",
            "step",
            "from",
            "to",
        ]
    ),
    st.text(max_size=8),
)
VALUES = st.one_of(
    st.sampled_from(
        ["views", "visits", "uniques", "today", "2026-11-29", "44", "44,11", "CN", "minute", "day", "5", ""]
    ),
    st.text(max_size=40),
)
PARAMETERS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda at: at.replace(tzinfo=UTC8))  # noqa: DTZ001 - the zone comes next


@given(PARAMETERS, st.one_of(st.sampled_from(["province", "grade", "agent"]), st.text(max_size=10)))
def test_anything_is_a_question_or_a_refusal_with_words(parameters: list[tuple[str, str]], dimension: str) -> None:
    asks = (
        lambda: question.totals(dimension, parameters, HELD),
        lambda: question.top(parameters, HELD),
        lambda: question.series(parameters, HELD, NOW),
        lambda: question.page(parameters, HELD),
        lambda: question.resources(parameters),
        lambda: question.exported(parameters, ["csv"]),
        lambda: question.nothing(parameters),
    )
    for ask in asks:
        try:
            ask()
        except QuestionError as error:
            assert 10 < len(str(error)) < 400  # noqa: PT017 - either outcome is fine


@given(MOMENTS, MOMENTS, st.sampled_from(list(Step)))
def test_a_span_holds_what_was_asked_in_steps_without_gaps(begin: datetime, end: datetime, step: Step) -> None:
    asked = [("step", step.value), ("from", begin.isoformat()), ("to", end.isoformat())]
    try:
        span = question.series(asked, HELD, NOW).span
    except QuestionError as error:
        assert end <= begin or "points" in str(error)  # noqa: PT017 - either outcome is fine
        return
    starts = span.starts()
    assert 1 <= len(starts) == span.points <= MAX_POINTS
    assert starts[0] <= begin < starts[0] + step.span
    assert starts[-1] < end <= starts[-1] + step.span
    assert all(later - earlier == step.span for earlier, later in pairwise(starts))


@pytest.mark.parametrize(
    ("begin", "end", "first", "last"),
    [
        ("2026-11-28", "2026-11-28", "2026-11-28T00:00:00+08:00", "2026-11-28T23:00:00+08:00"),
        ("2026-11-28T08:00", "2026-11-28T10:00", "2026-11-28T08:00:00+08:00", "2026-11-28T09:00:00+08:00"),
        ("2026-11-28T00:30:00Z", "2026-11-28T02:00:00Z", "2026-11-28T08:00:00+08:00", "2026-11-28T09:00:00+08:00"),
        ("2026-11-28T08:00:00 08:00", "2026-11-28T09:00:00 08:00", "2026-11-28T08:00:00+08:00", None),
    ],
)
def test_a_date_as_to_is_included_and_times_are_of_any_zone(begin: str, end: str, first: str, last: str | None) -> None:
    span = question.series([("step", "hour"), ("from", begin), ("to", end)], HELD, NOW).span
    assert span.starts()[0].isoformat() == first
    assert span.starts()[-1].isoformat() == (last or first)


@pytest.mark.parametrize(("step", "span"), [("minute", 1 / 24), ("hour", 1), ("day", 30)])
def test_without_from_and_to_a_series_is_of_the_last_while(step: str, span: float) -> None:
    found = question.series([("step", step)], HELD, NOW).span
    assert found.end - found.begin >= timedelta(days=span)
    assert found.end >= NOW > found.end - found.step.span
