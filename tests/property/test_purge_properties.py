"""The table of purges, folding and the translation of positions, against models that only make lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from edge.cache.purge import SOFT_RUNS, Kind, Numbered, PurgeRecord, PurgeTable, Scope, compact
from edge.cache.purge_lines import LOCAL, Ledger, everything, line
from edge.cache.purge_places import Places

URIS = ["/", "/a", "/a/", "/a/b", "/a/b?q", "/ab", "/b"]
TAGS = ["t", "u", "v"]

kinds = st.sampled_from([Kind.SOFT, Kind.HARD])
records = st.one_of(
    st.tuples(st.sampled_from([Scope.URL, Scope.PREFIX]), st.sampled_from(URIS), kinds),
    st.tuples(st.just(Scope.TAG), st.sampled_from(TAGS), kinds),
    st.tuples(st.just(Scope.ALL), st.just(""), st.sampled_from(list(Kind))),
)


def numbered(drawn: list[tuple[Scope, str, Kind]], start: int = 1) -> list[Numbered]:
    return [
        Numbered(seq, PurgeRecord(f"id-{seq}", scope, value, kind, float(seq), "n"))
        for seq, (scope, value, kind) in enumerate(drawn, start)
    ]


def names(record: PurgeRecord, uri: str, tags: tuple[str, ...]) -> bool:
    match record.scope:
        case Scope.ALL:
            return True
        case Scope.URL:
            return uri == record.value
        case Scope.PREFIX:
            return uri.startswith(record.value)
        case Scope.TAG:
            return record.value in tags


def naive(known: list[Numbered], uri: str, tags: tuple[str, ...], since: int) -> Kind | None:
    return max((r.kind for seq, r in known if seq > since and names(r, uri, tags)), default=None)


def naive_softened_at(known: list[Numbered], uri: str, tags: tuple[str, ...], since: int) -> float:
    return min((r.at for seq, r in known if seq > since and r.kind is Kind.SOFT and names(r, uri, tags)), default=inf)


def table_of(known: list[Numbered]) -> PurgeTable:
    table = PurgeTable()
    for seq, record in known:
        table.apply(record, seq)
    return table


def questions(last: int) -> list[tuple[str, tuple[str, ...], int]]:
    return [(uri, tags, since) for uri in URIS for tags in ((), ("t",), ("u", "v")) for since in range(last + 2)]


@given(st.lists(records, max_size=12))
def test_the_table_says_what_a_list_of_all_purges_says(drawn: list[tuple[Scope, str, Kind]]) -> None:
    known = numbered(drawn)
    table = table_of(known)
    for question in questions(len(known)):
        assert table.verdict(*question) == naive(known, *question)


@given(st.lists(records, max_size=12), st.integers(0, 12))
def test_folding_never_makes_a_verdict_weaker_but_where_the_origin_has_to_confirm(
    drawn: list[tuple[Scope, str, Kind]], keep: int
) -> None:
    known = numbered(drawn)
    kept, soft, validate = compact(known, keep)
    assert len(kept) <= keep
    rebuilt, running = PurgeTable(), table_of(known)
    rebuilt.fold(position=kept[0].seq - 1 if kept else len(known), soft=soft, validate=validate)
    running.fold(position=len(known), soft=soft, validate=validate)
    for seq, record in kept:
        rebuilt.apply(record, seq)
    assert rebuilt.position == running.position == len(known)
    for question in questions(len(known)):
        before, after = naive(known, *question) or 0, rebuilt.verdict(*question) or 0
        assert after >= min(before, Kind.VALIDATE)
        if not soft and not validate:
            assert after == before
        assert (running.verdict(*question) or 0) >= min(before, Kind.VALIDATE)


few_things = st.lists(
    st.tuples(st.sampled_from([(Scope.URL, "/a"), (Scope.TAG, "t"), (Scope.ALL, "")]), kinds), max_size=16
)


@given(few_things, st.integers(0, 16), st.integers(0, 16))
def test_a_grace_never_begins_later_than_a_list_of_all_purges_says_whatever_was_left_out(
    drawn: list[tuple[tuple[Scope, str], Kind]], first_keep: int, then_keep: int
) -> None:
    known = numbered([(*thing, kind) for thing, kind in drawn])
    halfway = len(known) // 2
    kept, soft, validate = compact(known[:halfway], first_keep)
    kept, *more = compact([*kept, *known[halfway:]], then_keep)
    rebuilt, running = PurgeTable(), table_of(known)
    position = kept[0].seq - 1 if kept else len(known)
    rebuilt.fold(position=position, soft=max(soft, more[0]), validate=max(validate, more[1]))
    for seq, record in kept:
        rebuilt.apply(record, seq)
    often = Counter((record.scope, record.value) for _, record in known if record.kind is Kind.SOFT)
    for question in questions(len(known)):
        if naive(known, *question) is not Kind.SOFT:
            continue
        said = naive_softened_at(known, *question)
        assert running.softened_at(*question) <= said
        assert rebuilt.verdict(*question) != Kind.SOFT or rebuilt.softened_at(*question) <= said
        if max(often.values()) <= SOFT_RUNS:
            assert running.softened_at(*question) == said


@dataclass
class Node:
    """A node as the rules have it: a list of what it knows, in order, each with its epoch or None."""

    known: list[int | None] = field(default_factory=list)
    places: Places = field(default_factory=Places)

    def learn(self, epoch: int) -> None:
        """The bus has something new to this node."""
        self.known.append(epoch)
        self.places.place(epoch, len(self.known))

    def make(self) -> None:
        """A purge made here while the bus is away."""
        self.known.append(None)

    def deliver(self, epoch: int, seq: int) -> None:
        """The purge made at that position got its epoch."""
        self.known[seq - 1] = epoch
        self.places.place(epoch, seq)

    def knows(self, position: int) -> set[int | None]:
        return set(self.known[:position])

    def unplaced(self) -> int | None:
        return next((seq for seq, epoch in enumerate(self.known, 1) if epoch is None), None)


def node_after(steps: list[str]) -> tuple[Node, int]:
    """A node after some steps, and how many epochs the bus has given out."""
    node, epoch = Node(), 0
    node.places.reset("bus", heard=0)
    for step in steps:
        waiting = node.unplaced()
        if step == "make":
            node.make()
        elif step == "deliver" and waiting is not None:
            epoch += 1
            node.deliver(epoch, waiting)
        else:
            epoch += 1
            node.learn(epoch)
    return node, epoch


steps = st.lists(st.sampled_from(["learn", "learn", "make", "deliver"]), max_size=14)


@given(steps)
def test_a_shared_mark_never_claims_more_than_was_known_at_the_position(drawn: list[str]) -> None:
    node, _ = node_after(drawn)
    for position in range(len(node.known) + 1):
        mark = node.places.mark_at(position)
        assert mark is not None
        claimed = int(mark.rpartition(":")[2])
        assert set(range(1, claimed + 1)) <= node.knows(position)
    assert node.places.mark_at(len(node.known)) == f"bus:{node.places.heard}"


@given(steps)
def test_a_shared_mark_is_never_read_as_more_than_it_says(drawn: list[str]) -> None:
    node, epochs = node_after(drawn)
    for epoch in range(epochs + 2):
        position = node.places.position_of(f"bus:{epoch}", position=len(node.known), unplaced=node.unplaced())
        assert position is not None
        assert None not in node.knows(position)
        assert all(known <= epoch for known in node.knows(position) if known is not None)
    if node.unplaced() is None:
        everything_heard = node.places.position_of(f"bus:{epochs}", position=len(node.known), unplaced=None)
        assert everything_heard == len(node.known)


@given(st.lists(records, max_size=10), st.integers(1, 10), st.integers(0, 2**16))
def test_lines_read_whole_or_piece_by_piece_and_rewritten_say_the_same(
    drawn: list[tuple[Scope, str, Kind]], keep: int, seed: int
) -> None:
    known = [record for _, record in numbered(drawn)]
    first = Ledger()
    first.take(line("base", 100, 0, 100, "", 0, "", 0))
    first.take(b"".join(first.purges(known)))
    first.take(line("bus", "bus-1", 7, "genesis"))
    heard = list(enumerate(known, 8))[: seed % (len(known) + 1)]
    first.take(b"".join(first.hearings(heard)))
    again, news = Ledger(), []
    lines = first.anew(keep, everything("stand-in", at=0.0, node="n"))
    for raw in lines:
        news += again.take(raw)
    assert [item for item in news if isinstance(item, Numbered)] == list(again.records.values())
    assert (again.bus, again.heard, again.heard_id) == (first.bus, first.heard, first.heard_id)
    assert again.position in (first.position, first.position + 1)
    assert again.damaged == 0
    assert set(again.unplaced) <= set(first.unplaced) | {"stand-in"}
    folded_unheard = [r for r in known if r.id in first.unplaced and r.id not in again.records]
    floor = again.floor
    assert floor is not None
    if any(first.records[r.id].seq <= (floor.soft if r.kind is Kind.SOFT else floor.validate) for r in folded_unheard):
        assert "stand-in" in again.unplaced, "whoever did not hear of a folded purge is told to validate"


@given(st.lists(records, min_size=1, max_size=8), st.data())
def test_a_damaged_byte_is_never_taken_for_another_purge(
    drawn: list[tuple[Scope, str, Kind]], data: st.DataObject
) -> None:
    written = Ledger()
    written.take(line("base", 100, 0, 100, "", 0, "", 0))
    lines = written.purges([record for _, record in numbered(drawn)])
    text = bytearray(b"".join(lines))
    at = data.draw(st.integers(0, len(text) - 1))
    text[at] ^= data.draw(st.integers(1, 255))
    read = Ledger()
    read.take(line("base", 100, 0, 100, "", 0, "", 0))
    read.take(bytes(text))
    written_at = {seq + 100: record for seq, record in numbered(drawn)}
    assert all(written_at[seq] == record for seq, record in read.records.values())
    assert read.damaged or b"\r" in text or len(read.records) == len(drawn)
    assert not any(record.id.startswith(LOCAL) for _, record in read.records.values())
