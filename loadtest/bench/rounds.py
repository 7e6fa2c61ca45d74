"""Takes the measurements in turns: every round measures each case at each server, neighbours in time."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from loadtest.bench import cases
from loadtest.bench.cases import EDGE, MANY, OWN_HIT, PUBLISHED, Case, Kind, WrongAnswerError
from loadtest.bench.client import Connection, Crowd, Judge, fetch
from loadtest.bench.processes import cpu_s
from loadtest.bench.servers import Server

GIGABYTE = 1e9
# What takes long to begin is measured in every so many-th round, and for so many times as long.
SELDOM = 5
# Cases measured by count end when all is answered; this only bounds a server that hangs.
COUNTED_WITHIN_S = 60.0
# How often each of many objects is asked for before they are measured: stored, found, and known to be hot.
WARM = 3
# Bodies of which TCP sends more at once from answer to answer, until it knows the way: not measured before that.
SIZABLE_BYTES = 100_000
# The clock of another process moves in steps: on a busy machine a short measurement can fall between two of them.
TRIES = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    seconds: of each measurement. scale: multiplies the number of cold objects. most: connections at once in any case.

    Short and often: a busy machine's moods last for seconds, so neighbours in time share them, and many of them leave
    a median that few do not.
    """

    rounds: int
    seconds: float
    connections: int
    scale: float = 1.0
    most: int = MANY

    def visits(self, case: Case) -> range:
        """The rounds in which a case is measured."""
        return range(0, self.rounds, SELDOM if case.seldom else 1)

    def lasting_s(self, case: Case) -> float:
        """How long it is measured each time, seconds."""
        return self.seconds * (SELDOM if case.seldom else 1)

    def cold(self, case: Case) -> int:
        """Distinct objects that a case asks for each time."""
        return max(1, round(case.cold * self.scale)) if case.cold else 0

    def at_once(self, case: Case) -> int:
        """Connections that ask at the same time."""
        return min(case.connections or self.connections, self.most)


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. cpu_s: of the process that served."""

    answers: int
    wall_s: float
    cpu_s: float
    bytes: int

    @property
    def per_cpu_s(self) -> float:
        """Requests per CPU-second."""
        return self.answers / self.cpu_s

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return self.answers / self.wall_s

    @property
    def busy(self) -> float:
        """Share of its core that the server used."""
        return self.cpu_s / self.wall_s

    @property
    def cpu_s_per_gb(self) -> float:
        """CPU-seconds for 10^9 bytes of body."""
        return self.cpu_s / (self.bytes / GIGABYTE)


def per_cpu_s(sample: Sample) -> float:
    """What is compared where nothing else is said."""
    return sample.per_cpu_s


class Results:
    """All samples, by case and server, in the order of rounds."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, str], list[Sample]] = {}

    def add(self, case: str, server: str, sample: Sample) -> None:
        self._samples.setdefault((case, server), []).append(sample)

    def of(self, case: str, server: str) -> list[Sample]:
        """The samples of a case at a server, none when it was not measured there."""
        return self._samples.get((case, server), [])

    def median(self, case: str, server: str, value: Callable[[Sample], float]) -> float | None:
        """Median over the rounds, None when not measured."""
        samples = self.of(case, server)
        return statistics.median(map(value, samples)) if samples else None

    def ratios(
        self, ours: tuple[str, str], theirs: tuple[str, str], value: Callable[[Sample], float] = per_cpu_s
    ) -> list[float]:
        """A value of ours by theirs, (case, server) each, round by round."""
        return [value(a) / value(b) for a, b in zip(self.of(*ours), self.of(*theirs), strict=False)]


def paths(plan: Plan) -> list[tuple[str, cases.Thing]]:
    """Every published object that has to be in storage."""
    hot = [(thing.path, thing) for thing in cases.THINGS]
    cold = [
        (case.thing.cold_path(number), case.thing)
        for case in PUBLISHED
        if isinstance(case.thing, cases.Thing)
        for number in range(plan.cold(case) * len(plan.visits(case)))
    ]
    return hot + cold


def subjects(case: Case, servers: Sequence[Server]) -> list[Server]:
    """Who is measured."""
    return [server for server in servers if server.name == EDGE or case.peers is None or server.name in case.peers]


def run(
    plan: Plan, rows: Sequence[Case], servers: Sequence[Server], tags: Mapping[str, str], tick: Callable[[], None]
) -> Results:
    """All rounds, with every byte compared before and after them; raises WrongAnswerError.

    tags: ETag of each object by its path. tick: called after each measurement.
    """
    pairs = [(case, server) for case in rows for server in subjects(case, servers)]
    for case, server in pairs:
        if not case.cold:
            check_bytes(case, server, tags.get(case.thing.path, ""))
    results = Results()
    for number in range(plan.rounds):
        for case in rows:
            if number not in plan.visits(case):
                continue
            visit = plan.visits(case).index(number)
            order = turns(case, rows, servers)
            first = visit % len(order)
            for name, asked, server in order[first:] + order[:first]:
                # Own hits are measured as long as what stands beside them.
                results.add(case.title, name, _measure(plan, visit, asked, server, tags, plan.lasting_s(case)))
                tick()
    for case, server in pairs:
        check_bytes(case, server, tags.get(case.thing.path, ""))
    return results


def turns(case: Case, rows: Sequence[Case], servers: Sequence[Server]) -> list[tuple[str, Case, Server]]:
    """Who is asked for what in one visit, and under which name that is noted: the edge's own hit is its neighbour."""
    own = next((row for row in rows if row.title == case.beside), None)
    made = []
    for server in subjects(case, servers):
        made.append((server.name, case, server))
        if own and server.name == EDGE:
            made.append((OWN_HIT, own, server))
    return made


def measurements(plan: Plan, rows: Sequence[Case], servers: Sequence[Server]) -> int:
    """How many `run` takes."""
    return sum(len(plan.visits(case)) * len(turns(case, rows, servers)) for case in rows)


def check_bytes(case: Case, server: Server, tag: str) -> None:
    """Ask once and compare every byte. Raises WrongAnswerError."""
    path = case.thing.cold_path(0) if case.kind is Kind.MISS else case.thing.path
    try:
        answer = fetch(server.address(path), path, {**case.fields(tag), **server.asked_with}, server.tls)
    except OSError as error:
        raise WrongAnswerError(f"{server.name}, {case.title}: {error}") from None
    if (answer.status, answer.body) != (case.status, case.body(path)):
        raise WrongAnswerError(
            f"{server.name}, {case.title}: {answer.status} with {len(answer.body)} bytes "
            f"instead of {case.status} with {case.length}, or the bytes differ"
        )


def _measure(plan: Plan, visit: int, case: Case, server: Server, tags: Mapping[str, str], seconds: float) -> Sample:
    tag = tags.get(case.thing.path, "")
    requests = [cases.request(path, {**case.fields(tag), **server.asked_with}) for path in case.hot_paths()]
    judge = Judge(case.status, case.length, server.says.get(case.kind, b""))
    warm = Judge(200, case.thing.size) if case.kind is Kind.MISS else judge
    hot_once = cases.request(case.thing.path, {}) if case.kind is Kind.MISS else requests[0]

    def greet(connection: Connection) -> None:
        # Every connection is accepted and has answered once before the clocks are read.
        connection.settle(hot_once, warm)

    with Crowd(server.address(case.thing.path), plan.at_once(case), server.tls, greet) as crowd:
        for _ in range(WARM if case.hot > 1 and visit == 0 else 0):
            crowd.ask(iter(requests), Judge(200, case.thing.size), COUNTED_WITHIN_S)
        if not case.cold and case.length >= SIZABLE_BYTES:
            crowd.ask(cycle(requests), judge, plan.seconds)
        for _ in range(1 if case.kind is Kind.MISS else TRIES):
            before = cpu_s(server.pid)
            if case.kind is Kind.MISS:
                load = crowd.ask(_cold(plan, visit, case), judge, COUNTED_WITHIN_S)
            else:
                load = crowd.ask(cycle(requests), judge, seconds)
            used = cpu_s(server.pid) - before
            if used > 0:
                break
        else:
            raise WrongAnswerError(f"{server.name} answered without using its process {server.pid}: another one serves")
    return Sample(load.answers, load.wall_s, used, load.answers * case.length)


def _cold(plan: Plan, visit: int, case: Case) -> Iterator[bytes]:
    """Requests for objects that no visit before has asked for."""
    count = plan.cold(case)
    for one in range(visit * count, (visit + 1) * count):
        yield cases.request(case.thing.cold_path(one), {})
