"""`smartedu counts` shows what the HTTP interface answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest
import trustme
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edge.commands.counts import counts
from edge.commands.counts_rebuild import _document, _places, _show
from edge.commands.counts_shown import chart
from edge.counters.rebuild import Report
from edge.counters.witnesses import Difference, Remedy

SUMMARY: dict[str, object] = {
    "views": 1234567,
    "views_today": 12,
    "views_daily_average": 3.5,
    "views_daily_peak": {"date": "2026-11-20", "views": 99},
    "plays": 7,
    "watch_seconds": 7200.5,
    "visits": 3,
    "uniques": 2,
    "resources": 6,
    "provinces": 1,
    "countries": 1,
    "as_of": "2026-11-23T12:00:01.000+08:00",
    "complete_through": "2026-11-23T12:00:00.000+08:00",
}
FIGURES = {"views": 5, "plays": 4, "watch_seconds": 3, "uniques": 2}
RESOURCES: dict[str, object] = {
    "resources": [{"id": "lesson-1", **FIGURES, "today": FIGURES}],
    "as_of": SUMMARY["as_of"],
    "complete_through": None,
}


WHEN = {"as_of": SUMMARY["as_of"], "complete_through": SUMMARY["complete_through"]}
TOTALS: dict[str, object] = {
    "dimension": "grade",
    "by": [{"id": "grade-1", "name": {"zh": "一年级", "en": "Grade 1"}, "views": 7}, {"id": "unknown", "views": 0}],
    "catalog_version": "v7",
    **WHEN,
}
RANKING: dict[str, object] = {
    "dimension": "province",
    "metric": "views",
    "total": 1,
    "top": [{"id": "44", "views": 1234}],
    "next": None,
    "as_of": SUMMARY["as_of"],
    "complete_through": {"44": "2026-11-23T11:59:00.000+08:00", "11": SUMMARY["complete_through"], "00": None},
}
SERIES: dict[str, object] = {
    "metric": "views",
    "step": "hour",
    "series": [{"at": f"2026-11-23T{hour:02}:00:00+08:00", "views": hour * 10} for hour in range(24)],
    **WHEN,
}
# What an author or an official may write, and rich would take for markup.
ODD = "count [/b] twice :smile:"
CORRECTIONS: dict[str, object] = {
    "corrections": [
        {
            "id": "c-1",
            "amount": -1234567,
            "province": "44",
            "resource": "lesson-000001",
            "minute": "2026-11-23T12:00:00+08:00",
            "reason": ODD,
        }
    ],
    **WHEN,
}
NAMED: dict[str, object] = {
    **RANKING,
    "dimension": "resource",
    "top": [{"id": "lesson-1", "name": {"zh": ODD, "en": ODD}, "views": 7}],
    "catalog_version": "[/v7]",
}
ANSWERS = {
    "/corrections": CORRECTIONS,
    "metric=plays": NAMED,
    "/resources": RESOURCES,
    "/by/": TOTALS,
    "/top": RANKING,
    "/series": SERIES,
}


class Node(BaseHTTPRequestHandler):
    """Answers as an edge node does."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status: int = 200
        document: dict[str, object] = SUMMARY
        if "ids=bad" in self.path:
            status, document = 503, {"detail": "the counts can't be read now"}
        elif "from=2999-01-01" in self.path:
            status, document = 400, {"detail": "from is before to"}
        elif "ids=secret" in self.path and self.headers["Authorization"] != "Bearer open sesame":
            status, document = 401, {"detail": "reading counts needs the token"}
        else:
            document = next((answer for path, answer in ANSWERS.items() if path in self.path), SUMMARY)
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Node) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_summary_is_a_table_for_people_and_json_for_programs(url: str) -> None:
    shown = CliRunner().invoke(counts, ["--url", url])
    assert shown.exit_code == 0
    assert "1,234,567" in shown.output
    assert "2026-11-20" in shown.output
    printed = CliRunner().invoke(counts, ["--url", url, "--json"])
    assert json.loads(printed.output) == SUMMARY


@pytest.mark.parametrize(
    ("arguments", "texts"), [(["corrections"], [ODD]), (["top", "--metric", "plays"], [ODD, "[/v7]"])]
)
def test_what_people_wrote_is_shown_as_they_wrote_it(url: str, arguments: list[str], texts: list[str]) -> None:
    shown = CliRunner().invoke(counts, [arguments[0], "--url", url, *arguments[1:]], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.exception
    assert all(text in shown.output for text in texts)


@pytest.mark.parametrize("columns", ["", "80", "20"])
def test_numbers_and_times_are_whole_however_narrow_the_place(url: str, columns: str) -> None:
    shown = CliRunner().invoke(counts, ["corrections", "--url", url], env={"COLUMNS": columns}).output
    assert "-1,234,567" in shown
    assert "2026-11-23T12:00:00+08:00" in shown
    assert "…" not in shown


def test_a_row_in_a_pipe_is_one_line(url: str) -> None:
    shown = CliRunner().invoke(counts, ["corrections", "--url", url], env={"COLUMNS": ""}).output
    assert [line for line in shown.splitlines() if "c-1" in line and "lesson-000001" in line and ODD in line]


def test_the_times_below_a_short_chart_stand_apart(url: str) -> None:
    shown = CliRunner().invoke(counts, ["series", "--url", url]).output
    assert "2026-11-23 00:00  2026-11-23 23:00\n" in shown


def test_resources_are_asked_for_together(url: str) -> None:
    shown = CliRunner().invoke(counts, ["--url", url, "lesson-1", "lesson-2"])
    assert shown.exit_code == 0
    assert "lesson-1" in shown.output
    assert Node.asked[-1] == "/v1/counts/resources?ids=lesson-1,lesson-2"


def test_a_refusal_is_one_line_and_exit_status_1(url: str) -> None:
    refused = CliRunner().invoke(counts, ["--url", url, "bad"])
    assert (refused.exit_code, refused.output) == (1, "Error: the counts can't be read now\n")
    nobody = CliRunner().invoke(counts, ["--url", "http://127.0.0.1:1"])
    assert nobody.exit_code == 1
    assert nobody.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["summary"], "summary"),
        (["resources", "a", "b"], "resources?ids=a,b"),
        (["--top", "3"], "top?dimension=resource&metric=views&limit=3"),
        (["top", "--limit", "5", "--grade", "grade-1"], "top?dimension=resource&metric=views&limit=5&grade=grade-1"),
        (["by", "grade", "--province", "44,11", "--day", "today"], "by/grade?day=today&province=44,11"),
        (["series", "--step", "day", "--from", "2026-11-01"], "series?metric=views&step=day&from=2026-11-01"),
        (["--", "summary"], "resources?ids=summary"),
    ],
)
def test_each_command_asks_its_question(url: str, arguments: list[str], asked: str) -> None:
    options = ["--url", url]
    spelled = options + arguments if arguments[0] in ("--", "--top") else [arguments[0], *options, *arguments[1:]]
    shown = CliRunner().invoke(counts, spelled)
    assert shown.exit_code == 0, shown.output
    path, _, query = Node.asked[-1].removeprefix("/v1/counts/").partition("?")
    wanted_path, _, wanted = asked.partition("?")
    assert (path, parse_qs(query)) == (wanted_path, parse_qs(wanted))


def test_totals_and_rankings_are_tables_with_names_and_the_slowest_province(url: str) -> None:
    totals = CliRunner().invoke(counts, ["by", "grade", "--url", url]).output
    assert "一年级 · Grade 1" in totals
    assert "by catalog v7" in totals
    ranking = CliRunner().invoke(counts, ["top", "--dimension", "province", "--url", url]).output
    assert "1,234" in ranking
    assert "complete through 2026-11-23T11:59" in ranking


def test_a_series_is_a_chart_and_a_table(url: str) -> None:
    shown = CliRunner().invoke(counts, ["series", "--url", url]).output
    assert "views by hour: 2,760, at most 230" in shown
    assert "█" in shown
    assert "2026-11-23 23:00" in shown


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=400), st.integers(1, 120))
def test_a_chart_is_as_wide_as_it_may_be_and_its_highest_column_is_full(values: list[float], width: int) -> None:
    lines = chart(values, width)
    assert all(len(line) <= min(width, len(values)) for line in lines)
    assert "█" in lines[0] or max(values) == 0
    assert "▁" in lines[-1] or "█" in lines[-1] or set(lines[-1]) <= set("▁▂▃▄▅▆▇█")


def test_a_difference_between_days_is_shown_as_days_and_one_between_counts_as_counts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = (
        Difference("total", "first_day", 20261124, 0, Remedy.REPLACE),
        Difference("views", "first_day", 1000, 1234567, Remedy.ADJUST),
    )
    _show(Report("44", 1, None, 2, None, found))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    shown = {row[0]: row[-2:] for row in rows if len(row) > 1}
    assert shown["total"] == ["20261124", "none"]
    assert shown["views"] == ["1,000", "1,234,567"]


def test_the_token_in_a_file_opens_the_counts(url: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("open sesame\n")
    refused = CliRunner().invoke(counts, ["--url", url, "secret"])
    assert (refused.exit_code, refused.output) == (1, "Error: reading counts needs the token\n")
    assert CliRunner().invoke(counts, ["--url", url, "--token-file", str(token), "secret"]).exit_code == 0


@pytest.mark.parametrize("content", [b"", b" \n", b"open\nsesame", b"sesame\x00"])
def test_a_file_without_a_token_is_told_without_what_is_in_it(url: str, tmp_path: Path, content: bytes) -> None:
    token = tmp_path / "token"
    token.write_bytes(content)
    told = CliRunner().invoke(counts, ["--url", url, "--token-file", str(token), "secret"])
    assert told.exit_code == 2
    assert "holds no token; allowed: one line" in told.output
    assert "sesame" not in told.output


@pytest.mark.parametrize(
    "arguments", [["by", "moon"], ["series", "--step", "week"], ["top", "--limit", "0"], ["resources"]]
)
def test_wrong_usage_of_a_command_is_exit_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(counts, arguments).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["top", "--day", "yesterday"], "day is a date such as 2026-11-29, or today, not 'yesterday'"),
        (["by", "grade", "--metric", "visits"], "allowed by grade: views, plays, watch_seconds"),
        (["resources", "a b"], "'a b' is not a resource id: 1 to 64 of the characters A-Z a-z 0-9 . _ -"),
        (["a b"], "'a b' is not a resource id"),
        (["series", "--to", "soon"], "to is an ISO 8601 time such as"),
        (["corrections", "--province", "99"], "allowed: 00, 11, 12"),
    ],
)
def test_what_no_node_would_answer_is_wrong_usage_and_never_asked(url: str, arguments: list[str], said: str) -> None:
    Node.asked.clear()
    refused = CliRunner().invoke(counts, [*arguments, "--url", url])
    assert refused.exit_code == 2
    assert said in refused.output
    assert Node.asked == []


def test_what_the_node_calls_a_wrong_question_is_wrong_usage(url: str) -> None:
    refused = CliRunner().invoke(counts, ["series", "--from", "2999-01-01", "--url", url])
    assert refused.exit_code == 2
    assert "Error: from is before to\n" in refused.output


def test_rebuild_opens_the_bucket_as_the_node_does(tmp_path: Path) -> None:
    ca, config = tmp_path / "ca.pem", tmp_path / "edge.toml"
    trustme.CA().cert_pem.write_to_path(str(ca))
    config.write_text(
        'origin = "s3://lessons/grade-1"\ns3_endpoint = "https://127.0.0.1:1"\ns3_region = "cn-north-1"\n'
        f'origin_ca = "{ca}"\ncounters_redis = "redis://127.0.0.1:1"\nprovince = "44"\n'
    )
    redis, opened, provinces = _places(config, None, None, None, None)
    store: Any = opened()
    assert (redis, provinces) == ("redis://127.0.0.1:1", ("44",))
    assert (store.location.bucket, store.location.endpoint) == ("lessons", "https://127.0.0.1:1")
    assert store._client.meta.region_name == "cn-north-1"
    assert store._client._endpoint.http_session._verify == str(ca)


def test_rebuild_tells_times_in_the_offset_that_all_others_are_told_in() -> None:
    told = _document(Report("44", 0, None, 0, 1_764_000_000_000, ()))
    assert told["complete_through"] == "2025-11-25T00:00:00+08:00"


@pytest.mark.parametrize("arguments", [["a", "--top", "3"], ["--url", "ftp://x"], ["--top", "0"], ["a"] * 201])
def test_wrong_usage_is_exit_status_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(counts, arguments).exit_code == 2
