"""The Parquet tables of a closed day: what goes in comes out, in the same bytes however often."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.counters.history import Figures, HistoryError, digest_of
from edge.counters.parquet import Format, Parquet, Source

_amount = st.integers(-5, 2**50)
_resource = st.text("abcXYZ019._-", min_size=1, max_size=8)
_hours = st.dictionaries(
    st.tuples(_resource, st.integers(0, 23)), st.tuples(_amount, _amount, _amount).filter(any), max_size=30
)


@contextmanager
def bench() -> Iterator[tuple[Path, Parquet]]:
    with tempfile.TemporaryDirectory() as name, Parquet(Path(name)) as parquet:
        yield Path(name), parquet


def csv(path: Path, rows: list[tuple[object, ...]]) -> Path:
    path.write_text("".join(",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows))
    return path


def wholes_of(hours: dict[tuple[str, int], tuple[int, int, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for (resource, _), amounts in hours.items():
        sums = found.setdefault(resource, [0, 0, 0])
        for i, amount in enumerate(amounts):
            sums[i] += amount
    return found


def write(directory: Path, parquet: Parquet, hours: dict[tuple[str, int], tuple[int, int, int]], name: str) -> Path:
    rows = csv(directory / "h.csv", [(*place, *amounts) for place, amounts in hours.items()])
    wholes = csv(directory / "w.csv", [(resource, *sums) for resource, sums in wholes_of(hours).items()])
    target = directory / name
    parquet.write_resources(rows, wholes, target)
    return target


@settings(max_examples=25)
@given(_hours)
def test_what_is_written_by_resource_and_hour_is_read_back(hours: dict[tuple[str, int], tuple[int, int, int]]) -> None:
    with bench() as (directory, parquet):
        table = write(directory, parquet, hours, "t.parquet")
        assert {(row[0], row[1]): row[2:] for row in parquet.hours(table)} == hours
        assert {row[0]: list(row[1:]) for row in parquet.resources(table)} == wholes_of(hours)
        contents = parquet.contents("resources", table)
        sums = [sum(column) for column in zip(*hours.values(), strict=True)] or [0, 0, 0]
        assert (contents.rows, contents.sums, contents.unplaced) == (len(hours), Figures(0, *sums), Figures())


@settings(max_examples=10)
@given(_hours, st.randoms())
def test_the_same_rows_in_any_order_give_the_same_bytes(
    hours: dict[tuple[str, int], tuple[int, int, int]], random: Random
) -> None:
    places = list(hours)
    random.shuffle(places)
    with bench() as (directory, parquet):
        first = write(directory, parquet, hours, "a.parquet")
        second = write(directory, parquet, {place: hours[place] for place in places}, "b.parquet")
        assert digest_of(first) == digest_of(second)


@settings(max_examples=15)
@given(_hours, _hours)
def test_corrections_are_added_to_the_rows(
    hours: dict[tuple[str, int], tuple[int, int, int]], changes: dict[tuple[str, int], tuple[int, int, int]]
) -> None:
    with bench() as (directory, parquet):
        base = write(directory, parquet, hours, "a.parquet")
        rows = csv(directory / "c.csv", [(*place, *amounts) for place, amounts in changes.items()])
        parquet.write_corrected("resources", base, rows, directory / "b.parquet")
        expected = {
            place: tuple(x + y for x, y in zip(hours.get(place, (0, 0, 0)), changes.get(place, (0, 0, 0)), strict=True))
            for place in hours.keys() | changes.keys()
        }
        found = {(row[0], row[1]): row[2:] for row in parquet.hours(directory / "b.parquet")}
        assert found == {place: amounts for place, amounts in expected.items() if any(amounts)}


def test_what_the_hours_lack_of_a_resources_day_stands_in_a_row_without_hour() -> None:
    with bench() as (directory, parquet):
        hours = csv(directory / "h.csv", [("a", 3, 1, 0, 0), ("b", 4, 5, 5, 5)])
        wholes = csv(directory / "w.csv", [("a", 7, 0, 0), ("b", 5, 5, 5), ("c", 0, 2, 0)])
        parquet.write_resources(hours, wholes, directory / "t.parquet")
        assert list(parquet.hours(directory / "t.parquet")) == [
            *(("a", None, 6, 0, 0), ("a", 3, 1, 0, 0), ("b", 4, 5, 5, 5), ("c", None, 0, 2, 0))
        ]
        assert parquet.contents("resources", directory / "t.parquet").unplaced == Figures(0, 6, 2, 0)


def test_sketches_are_bytes_in_the_order_given() -> None:
    with bench() as (directory, parquet):
        sketch = bytes(range(256)) * 48
        rows = csv(directory / "s.csv", [(None, b"HYLL".hex()), ("b", sketch.hex()), ("a", "00")])
        parquet.write_sketches(rows, directory / "s.parquet")
        assert list(parquet.sketches(directory / "s.parquet")) == [(None, b"HYLL"), ("b", sketch), ("a", b"\x00")]


@pytest.mark.parametrize("how", list(Format))
def test_an_export_says_the_same_in_every_format(how: Format) -> None:
    with bench() as (directory, parquet):
        resources = write(directory, parquet, {("lesson-1", 9): (3, 2, 1500), ("lesson-2", 0): (1, 0, 0)}, "r.parquet")
        minutes = csv(directory / "m.csv", [(545, "CN", 4, 3, 2, 1500), (546, "FR", 1, 1, 0, 0)])
        parquet.write_minutes(minutes, directory / "m.parquet")
        target = directory / "out"
        parquet.export("2026-11-27", [Source("44", resources, directory / "m.parquet")], target, how)
        reader = {Format.CSV: "read_csv", Format.PARQUET: "read_parquet", Format.JSON: "read_json"}[how]
        columns = "day::DATE::VARCHAR, province::INTEGER, nullif(resource, ''), hour::INTEGER, visits, views, plays"
        seconds = "watch_seconds::DECIMAL(18, 3)::VARCHAR"
        rows = parquet._rows(" ".join(["SELECT", columns, ",", seconds, "FROM", f"{reader}('{target}')"]))
        assert rows == [
            ("2026-11-27", 44, None, 9, 5, 0, 0, "0.000"),
            ("2026-11-27", 44, "lesson-1", 9, 0, 3, 2, "1.500"),
            ("2026-11-27", 44, "lesson-2", 0, 0, 1, 0, "0.000"),
        ]


def test_an_export_of_no_province_has_no_rows() -> None:
    with bench() as (directory, parquet):
        parquet.export("2026-11-27", [], directory / "out", Format.JSON)
        assert orjson.loads((directory / "out").read_bytes()) == []


def test_duckdb_reaches_nothing_outside_its_directory() -> None:
    with bench() as (directory, parquet), pytest.raises(HistoryError, match="disabled by configuration"):
        parquet.write_minutes(Path("/etc/hostname"), directory / "t.parquet")


def test_what_is_no_parquet_is_a_history_error() -> None:
    with bench() as (directory, parquet), pytest.raises(HistoryError, match="DuckDB"):
        parquet.contents("resources", csv(directory / "x", [("a", 1)]))
