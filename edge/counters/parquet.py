"""Rows -> Parquet and back, by DuckDB: everything here blocks and belongs into a thread.

Rows come in as CSV files without a header, since that is the one way into DuckDB that needs neither other libraries nor
the rows in memory: resource ids and countries hold nothing that CSV would have to quote. A connection sees only its own
directory, loads no extension, and takes one thread and bounded memory; what does not fit is spilled into the directory.

With one thread and sorted rows, the same rows give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge.counters.history import Figures, HistoryError

MEMORY: Final = "128MB"
_AT_ONCE: Final = 5000

_COLUMNS: Final = {
    "resources": {"resource": "VARCHAR", "hour": "TINYINT", "views": "BIGINT", "plays": "BIGINT", "watch_ms": "BIGINT"},
    "minutes": {
        "minute": "SMALLINT",
        "country": "VARCHAR",
        "visits": "BIGINT",
        "views": "BIGINT",
        "plays": "BIGINT",
        "watch_ms": "BIGINT",
    },
    "sketches": {"resource": "VARCHAR", "sketch": "VARCHAR"},
    "wholes": {"resource": "VARCHAR", "views": "BIGINT", "plays": "BIGINT", "watch_ms": "BIGINT"},
}
_PLACE: Final = {"resources": "resource, hour", "minutes": "minute, country"}
_AMOUNTS: Final = {"resources": ("views", "plays", "watch_ms"), "minutes": ("visits", "views", "plays", "watch_ms")}
_PLACED_BY: Final = {"resources": "hour", "minutes": "minute"}


class Format(Enum):
    """What a closed day can be had as."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


class Contents(NamedTuple):
    """What a table holds: rows, sums, and the part of the sums whose hour or minute is not known."""

    rows: int
    sums: Figures
    unplaced: Figures


class Source(NamedTuple):
    """Two tables of one province, for an export."""

    province: str
    resources: Path
    minutes: Path


class Parquet:
    """DuckDB, confined to one directory. A context manager; every method raises HistoryError."""

    def __init__(self, directory: Path) -> None:
        import duckdb  # noqa: PLC0415  30 MB that most workers never need

        self._error = duckdb.Error
        self._duck = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "threads": 1,
                "memory_limit": MEMORY,
                "temp_directory": str(directory / "spill"),
            }
        )
        # Once only the directory can be reached, nothing in here can widen that again.
        self._duck.execute(f"SET allowed_directories = [{_text(str(directory))}]")
        self._duck.execute("SET enable_external_access = false")
        self._duck.execute("SET lock_configuration = true")

    def __enter__(self) -> Parquet:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._duck.close()

    def write_resources(self, hours: Path, wholes: Path, target: Path) -> None:
        """Rows by resource and hour. wholes: each resource's day; what its hours lack gets the hour null."""
        amounts = _AMOUNTS["resources"]
        rest = ", ".join(f"coalesce(w.{name}, 0) - coalesce(h.{name}, 0) AS {name}" for name in amounts)
        self._copy(
            f"""
            WITH hours AS (SELECT * FROM {_csv("resources", hours)}),
                 w AS (SELECT * FROM {_csv("wholes", wholes)}),
                 h AS (SELECT resource, {_sums(amounts)} FROM hours GROUP BY resource),
                 rest AS (SELECT resource, NULL::TINYINT AS hour, {rest} FROM w FULL JOIN h USING (resource))
            SELECT * FROM hours WHERE {_anything(amounts)}
            UNION ALL
            SELECT * FROM rest WHERE {_anything(amounts)} ORDER BY resource, hour NULLS FIRST
            """,
            target,
        )

    def write_minutes(self, minutes: Path, target: Path) -> None:
        """Rows by minute and country."""
        self._copy(f"SELECT * FROM {_csv('minutes', minutes)} ORDER BY minute NULLS FIRST, country", target)

    def write_sketches(self, sketches: Path, target: Path) -> None:
        """The resource (none for the whole province) and its sketch, hexadecimal in the CSV, in the order given."""
        self._copy(f"SELECT resource, unhex(sketch) AS sketch FROM {_csv('sketches', sketches)}", target)

    def write_corrected(self, table: str, base: Path, changes: Path, target: Path) -> None:
        """A table with changes (a CSV of the same columns, signed amounts) added to its rows."""
        amounts, place = _AMOUNTS[table], _PLACE[table]
        order = place.replace(_PLACED_BY[table], f"{_PLACED_BY[table]} NULLS FIRST")
        self._copy(
            f"""
            SELECT {place}, {_sums(amounts)}
            FROM (SELECT * FROM {_parquet(base)} UNION ALL SELECT * FROM {_csv(table, changes)})
            GROUP BY {place} HAVING {_anything([f"sum({name})" for name in amounts])} ORDER BY {order}
            """,
            target,
        )

    def contents(self, table: str, source: Path) -> Contents:
        """Rows and sums of `resources` or `minutes`; of `sketches` only the rows."""
        if table not in _AMOUNTS:
            return Contents(self._rows(f"SELECT count(*) FROM {_parquet(source)}")[0][0], Figures(), Figures())
        amounts, placed_by = _AMOUNTS[table], _PLACED_BY[table]
        sums = ", ".join(f"coalesce(sum({name}), 0)::BIGINT" for name in amounts)
        rest = ", ".join(f"coalesce(sum({name}) FILTER ({placed_by} IS NULL), 0)::BIGINT" for name in amounts)
        row = self._rows(f"SELECT count(*), {sums}, {rest} FROM {_parquet(source)}")[0]
        first, second = row[1 : 1 + len(amounts)], row[1 + len(amounts) :]
        return Contents(
            row[0],
            Figures.of(dict(zip(amounts, first, strict=True))),
            Figures.of(dict(zip(amounts, second, strict=True))),
        )

    def countries(self, minutes: Path) -> dict[str, Figures]:
        """Country -> its sums."""
        sums = _sums(_AMOUNTS["minutes"])
        rows = self._rows(f"SELECT country, {sums} FROM {_parquet(minutes)} GROUP BY country ORDER BY country")
        return {row[0]: Figures(*row[1:]) for row in rows}

    def resources(self, *sources: Path) -> Iterator[tuple[str, int, int, int]]:
        """Resource, views, plays, ms watched: sums over all the hours of all the tables, by resource."""
        sums = _sums(_AMOUNTS["resources"])
        yield from self._each(f"SELECT resource, {sums} FROM {_parquet(*sources)} GROUP BY resource ORDER BY resource")

    def hours(self, source: Path) -> Iterator[tuple[str, int | None, int, int, int]]:
        """The rows of a table of resources: resource, hour, views, plays, ms watched."""
        yield from self._each(f"SELECT * FROM {_parquet(source)}")

    def minutes(self, source: Path) -> Iterator[tuple[int | None, str, int, int, int, int]]:
        """The rows of a table of minutes: minute, country, visits, views, plays, ms watched."""
        yield from self._each(f"SELECT * FROM {_parquet(source)}")

    def visits(self, source: Path) -> Iterator[tuple[int | None, int]]:
        """Hour and visits, of a table of minutes."""
        yield from self._each(
            f"SELECT minute // 60 AS hour, sum(visits)::BIGINT FROM {_parquet(source)} GROUP BY hour ORDER BY hour"
        )

    def sketches(self, source: Path) -> Iterator[tuple[str | None, bytes]]:
        """Resource (None: of the province's day) and sketch."""
        yield from self._each(f"SELECT * FROM {_parquet(source)}")

    def export(self, day: str, sources: Sequence[Source], target: Path, how: Format) -> None:
        """A closed day of several provinces for readers outside, in one file.

        A row per province, resource and hour; visits have no resource, so they stand in rows without one.
        day: ISO 8601.
        """
        seconds = "(watch_ms / 1000)::DECIMAL(18, 3) AS watch_seconds"
        parts = []
        for code, resources, minutes in sources:
            place = f"DATE {_text(day)} AS day, {_text(code)} AS province"
            visits = (
                f"SELECT minute // 60 AS hour, sum(visits)::BIGINT AS visits FROM {_parquet(minutes)} GROUP BY hour"
            )
            parts += [
                f"SELECT {place}, NULL AS resource, hour::TINYINT AS hour, visits, 0::BIGINT AS views, "
                f"0::BIGINT AS plays, 0::DECIMAL(18, 3) AS watch_seconds FROM ({visits}) WHERE visits <> 0",
                f"SELECT {place}, resource, hour, 0::BIGINT AS visits, views, plays, {seconds} "
                f"FROM {_parquet(resources)}",
            ]
        rows = " UNION ALL ".join(parts) or _NO_ROWS
        options = {
            Format.CSV: "FORMAT csv, HEADER true",
            Format.PARQUET: "FORMAT parquet, COMPRESSION zstd",
            Format.JSON: "FORMAT json, ARRAY true",
        }[how]
        self._copy(f"SELECT * FROM ({rows}) ORDER BY province, resource NULLS FIRST, hour NULLS FIRST", target, options)

    def _copy(self, query: str, target: Path, options: str = "FORMAT parquet, COMPRESSION zstd") -> None:
        self._run(f"COPY ({query}) TO {_text(str(target))} ({options})")

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return list(self._each(query))

    def _each(self, query: str) -> Iterator[Any]:
        """The rows of a query, a few thousand at a time, on a cursor of its own."""
        cursor = self._duck.cursor()
        try:
            cursor.execute(query)
            while rows := cursor.fetchmany(_AT_ONCE):
                yield from rows
        except self._error as error:
            raise HistoryError(f"DuckDB: {error}") from error
        finally:
            cursor.close()

    def _run(self, statement: str) -> None:
        try:
            self._duck.execute(statement)
        except self._error as error:
            raise HistoryError(f"DuckDB: {error}") from error


_NO_ROWS: Final = (
    "SELECT NULL::DATE AS day, '' AS province, '' AS resource, 0::TINYINT AS hour, 0::BIGINT AS visits, "
    "0::BIGINT AS views, 0::BIGINT AS plays, 0::DECIMAL(18, 3) AS watch_seconds WHERE false"
)


def _text(value: str) -> str:
    """A string literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def _csv(table: str, source: Path) -> str:
    columns = ", ".join(f"{_text(name)}: {_text(kind)}" for name, kind in _COLUMNS[table].items())
    return f"read_csv({_text(str(source))}, header = false, auto_detect = false, columns = {{{columns}}})"


def _parquet(*sources: Path) -> str:
    # Not told from the names, which could hold `day=`: the columns are those of the files.
    names = ", ".join(_text(str(source)) for source in sources)
    return f"read_parquet([{names}], hive_partitioning = false)"


def _sums(names: Sequence[str]) -> str:
    return ", ".join(f"sum({name})::BIGINT AS {name}" for name in names)


def _anything(names: Sequence[str]) -> str:
    return "(" + " OR ".join(f"{name} <> 0" for name in names) + ")"
