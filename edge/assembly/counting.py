"""The counting side of one worker: journal, flusher and read model, put together from the settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from config.settings import EdgeSettings
from edge import metrics
from edge.assembly.history import Keeping, history
from edge.catalog_view import CatalogView
from edge.clock import Clock
from edge.counters.allowance import Allowances
from edge.counters.board import Board
from edge.counters.corrections import Booked, Corrections
from edge.counters.flush import Flusher
from edge.counters.intake import Intake
from edge.counters.journal import Journal, JournalError
from edge.counters.label import Home
from edge.counters.leftover import Leftovers
from edge.counters.outliers import Outliers
from edge.counters.sink import Sink, open_client
from edge.handlers import health

log = logging.getLogger(__name__)

# How long a stopping worker tries to send what it has counted.
FLUSH_WITHIN_S = 5.0
# How long a starting one waits to be heard, by a Redis that is slow and by one that fails: with that away, media are to
# be served all the same.
HEARD_WITHIN_S = 10.0
HEARD_WHILE_FAILING_S = 1.0


@dataclass(frozen=True, slots=True)
class Counting:
    """The counting side of one worker."""

    intake: Intake
    corrections: Corrections
    board: Board
    flusher: Flusher
    journal: Journal
    sink: Sink
    keeping: Keeping | None

    def check(self) -> health.Check:
        """Whether what is accepted also reaches Redis; until it does, it is kept in the journal."""
        state = self.flusher.state()
        detail = f"{state.pending_bytes} bytes of the journal are still to be applied"
        return health.Check(state.connected, f"{detail}: {state.last_error}" if state.last_error else detail)


async def counting(
    settings: EdgeSettings,
    slot: int,
    known: Callable[[str], bool] | None,
    clock: Clock,
    stack: AsyncExitStack,
    catalog: CatalogView | None = None,
) -> Counting | None:
    """Journal, flusher and read model, started; None on a node without a Redis for counters.

    known: whether the catalog holds a resource; None counts any. catalog: tells which resources belong together.
    On the way out the flusher sends what is left; what cannot be sent in time stays for the slot's next worker.
    """
    url = settings.counters_url()
    if url is None:
        return None
    journals = settings.data_dir / "journal"
    try:
        journal = await _journal(settings, journals / str(slot), slot, clock)
    except JournalError as error:
        # A full or broken disk must not keep the media from being served; events get 503 until the worker is renewed.
        log.critical("no view events are accepted: the journal of slot %d cannot be opened: %s", slot, error)
        return None
    stack.push_async_callback(journal.close)
    sink = Sink(open_client(url), settings.province)
    stack.push_async_callback(sink.close)
    keeping = history(settings, slot, url, journal.label.provinces, clock, stack)
    keep_from_ms = keeping.exporter.keep_from_ms if keeping is not None else lambda: None
    flusher = Flusher(journal, sink, monotonic=clock.monotonic, keep_from_ms=keep_from_ms)
    flusher.start()
    stack.push_async_callback(flusher.drain, FLUSH_WITHIN_S)
    await flusher.heard(HEARD_WITHIN_S, HEARD_WHILE_FAILING_S)
    leftovers = Leftovers(
        journals,
        settings.data_dir / "slots",
        sink,
        slot,
        wall=clock.wall,
        monotonic=clock.monotonic,
        keep_from_ms=keep_from_ms,
    )
    leftovers.start()
    stack.push_async_callback(leftovers.stop)
    board = _board(settings, url, clock, catalog, keeping)
    stack.push_async_callback(board.close)
    booked = Booked(open_client(url, repeats=1))
    stack.push_async_callback(booked.close)
    intake = _intake(settings, journal, known, clock)
    return Counting(intake, Corrections(journal, booked), board, flusher, journal, sink, keeping)


async def _journal(settings: EdgeSettings, directory: Path, slot: int, clock: Clock) -> Journal:
    """The slot's journal, opened. Raises JournalError."""
    return await Journal.open(
        directory,
        Home(settings.province, f"{settings.node}/{slot}"),
        wall=clock.wall,
        monotonic=clock.monotonic,
        max_bytes=settings.journal_size // settings.workers,
        on_group=metrics.journal_group,
        provinces=settings.accepted_provinces,
    )


def _board(
    settings: EdgeSettings, url: str, clock: Clock, catalog: CatalogView | None, keeping: Keeping | None
) -> Board:
    return Board(
        open_client(url, repeats=1),
        settings.counted_provinces,
        wall=clock.wall,
        monotonic=clock.monotonic,
        catalog=lambda: catalog.snapshot if catalog is not None and catalog.loaded else None,
        history=keeping.day_table if keeping is not None else None,
    )


def _intake(settings: EdgeSettings, journal: Journal, known: Callable[[str], bool] | None, clock: Clock) -> Intake:
    outliers = Outliers(
        per_viewer=settings.viewer_views_per_minute,
        per_client=settings.client_views_per_minute,
        now=clock.monotonic,
    )
    allowances = Allowances(settings.views_per_client, now=clock.monotonic)
    return Intake(journal, known, outliers=outliers, allowances=allowances)
