"""Whatever happens to the end of a journal, what was on disk before it is read back."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.counters.event import place_in
from edge.counters.journal import Journal, frame, scan
from edge.counters.label import Home
from edge.counters.record import encode

BASE = 1000
HERE = place_in("44")
payloads = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=12)


def read(data: bytes) -> list[bytes]:
    return [one.payload for one in scan(data, BASE).frames]


@settings(max_examples=200, deadline=None)
@given(payloads, st.data())
def test_any_truncation_leaves_a_prefix_of_the_records(written: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(frame, written))
    cut = data.draw(st.integers(0, len(whole)))
    kept = read(whole[:cut])
    assert kept == written[: len(kept)]
    assert (
        len(b"".join(map(frame, kept))) <= cut < len(b"".join(map(frame, written[: len(kept) + 1]))) or kept == written
    )


@settings(max_examples=200, deadline=None)
@given(payloads, st.data())
def test_one_damaged_byte_costs_one_record_and_no_other(written: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(map(frame, written)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    hit, end = 0, len(frame(written[0]))
    while end <= at:
        hit += 1
        end += len(frame(written[hit]))
    found = scan(bytes(whole), BASE)
    assert [one.payload for one in found.frames] == written[:hit] + written[hit + 1 :]
    assert found.lost == len(frame(written[hit]))
    assert found.next == BASE + len(whole)


@settings(max_examples=200, deadline=None)
@given(payloads, st.integers(8, 200))
def test_a_window_reads_whole_records_and_leaves_the_rest(written: list[bytes], width: int) -> None:
    whole = b"".join(map(frame, written))
    window = whole[:width]
    found = scan(window, BASE, whole=len(window) == len(whole))
    assert found.lost == 0
    assert b"".join(frame(one.payload) for one in found.frames) == whole[: found.next - BASE]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_a_journal_cut_at_any_byte_opens_with_a_prefix_and_goes_on(counts: list[int], data: st.DataObject) -> None:
    written = [encode(1_764_000_000_000 + index, [], HERE) + bytes(count) for index, count in enumerate(counts)]
    asyncio.run(_cut_and_go_on(written, data))


async def _cut_and_go_on(written: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        journal = await _open(Path(name))
        for payload in written:
            await journal.append(payload, 0)
        await journal.close()
        segment = _last_segment(Path(name))
        os.truncate(segment, data.draw(st.integers(0, segment.stat().st_size)))
        journal = await _open(Path(name))
        kept = _all(journal)
        await journal.append(written[0], 0)
        await journal.close()
        assert kept == written[: len(kept)]
        assert _all(journal) == [*kept, written[0]]


def _last_segment(directory: Path) -> Path:
    return max(directory.glob("*.log"))


async def _open(directory: Path) -> Journal:
    return await Journal.open(
        directory,
        Home("44", "edge-1/0"),
        wall=time.time,
        monotonic=time.monotonic,
        max_bytes=1 << 20,
        segment_bytes=128,
    )


def _all(journal: Journal) -> list[bytes]:
    view, position, found = journal.view(), 0, []
    while position < view.end:
        chunk = view.read(position)
        assert chunk.lost == 0
        found += [one.payload for one in chunk.frames]
        position = chunk.next
    return found
