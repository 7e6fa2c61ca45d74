"""One worker hears of every purge, applies it, and says so.

A purge takes one way, wherever it was made: into the node's log (on disk, numbered), and from there, in the order of
the log, into every worker's table and memory. Nothing is applied that is not in the log, so the workers of a node agree
on positions, and a restarted one knows what its predecessor knew.

    record    (made here)     log -> own table and memory
    follow    bus -> log -> own table and memory -> tell the bus how far we are
    watch     (a sibling wrote) log -> own table and memory

The worker is *attached* while it has applied all that the bus had a moment ago. Only then may the Redis tier be used:
values in it are judged by purges that have to be known. On the way up, after a restart or a partition, the backlog
comes first. A bus that lost something is a new bus (see `purge_bus.lua`): the node adopts it and tells it what it
remembers of the last day, so that a purge is lost only if nobody who ever heard of it comes back. What was cut off the
bus before we heard of it is stood for by one purge of everything, of the kind VALIDATE.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from edge.cache.purge import UNKNOWN, Kind, Numbered, PurgeRecord, PurgeTable, Scope
from edge.cache.purge_bus import AT_ONCE, BusError, PurgeBus
from edge.cache.purge_lines import Adopted, Floor, News, Placed, Skipped
from edge.cache.purge_log import PurgeLog, PurgeLogError
from edge.cache.purge_places import Places
from edge.cache.purge_receipt import Witnesses
from edge.clock import Clock
from edge.tasks import begin, end

_log = logging.getLogger(__name__)

RETRY_S: Final = 0.5
WATCH_S: Final = 1.0
ROSTER_S: Final = 5.0
STALE_S: Final = 5.0
"""Without a word from the bus for so long, we do not know what it has."""
BACKLOG_S: Final = 20.0
"""How long a starting worker may go on hearing, while it gets answers."""
MAX_TOGETHER: Final = 4000
"""Purges in one write of the log."""
MAX_RECENT: Final = 2 * MAX_TOGETHER
"""Purges of which it is remembered what they removed here."""
YIELD_EVERY: Final = 200

Apply = Callable[[PurgeRecord], Awaitable[int]]
"""Takes out of memory, or makes stale, what the record names; how many values that were. Must not raise.

Called in the order of positions, the table knowing the purge already. It may give way to the loop in between; the purge
counts as applied when it returns.
"""


class Applied(NamedTuple):
    """One purge that is applied here. removed: how many values it took out of memory, or made stale there."""

    seq: int
    removed: int


class Heard(NamedTuple):
    """Everything up to this epoch of the bus is applied here; `id` is of the record there."""

    bus: str
    epoch: int
    id: str


@dataclass(frozen=True, slots=True)
class PurgeState:
    """For readiness and metrics.

    attached: everything on the bus is applied (always so without one). unplaced: purges that the bus is still to be
    told. silent_s: since the bus was last heard. error: why it is not heard, '' when it is.
    """

    position: int
    epoch: int
    attached: bool
    unplaced: int
    silent_s: float
    error: str


async def _nothing_to_apply(_record: PurgeRecord) -> int:
    return 0


class PurgeFollower:
    """purges, bus: handed in, closed by `stop`. bus None: a node without Redis.

    apply: for memory. observe: told of each purge applied while running, and of the seconds since it was asked for.
    catch_up_s: how long `start` waits for an answer of the bus.
    """

    def __init__(
        self,
        purges: PurgeLog,
        bus: PurgeBus | None,
        *,
        node: str,
        clock: Clock,
        apply: Apply = _nothing_to_apply,
        observe: Callable[[PurgeRecord, float], None] = lambda _record, _lag_s: None,
        catch_up_s: float = 2.0,
    ) -> None:
        self.table = PurgeTable()
        self.heard = Heard("", 0, "")
        gone_s, remember_s = (bus.gone_s, bus.remember_s) if bus is not None else (0.0, 0.0)
        self.witnesses = Witnesses(node, clock.monotonic, gone_s=gone_s, remember_s=remember_s)
        self._purges = purges
        self._bus = bus
        self._clock = clock
        self._apply = apply
        self._observe = observe
        self._catch_up_s = catch_up_s
        self._places = Places()
        self._position = 0  # of the last purge that is applied to memory, too
        self._unplaced = 0
        self._first_unplaced: int | None = None
        self._made: list[PurgeRecord] = []
        self._recent: OrderedDict[str, Applied] = OrderedDict()
        self._slots: Callable[[], Iterable[int]] = tuple
        self._running = False
        self._attached = bus is None
        self._heard_at = clock.monotonic()
        self._roster_at = self._heard_at - ROSTER_S
        self._error = ""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="purge-log")
        self._order = asyncio.Lock()
        self._steps: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life --------------------------------------------------------------------------------------------------------

    async def start(self, slots: Callable[[], Iterable[int]] = tuple) -> None:
        """Apply what the node knows and what the bus has; then go on following. To be called before anybody is served.

        slots: of the workers that this node has now. The bus is told: whoever purges waits for all of them.
        Raises PurgeLogError when the log cannot be read: then nobody knows what may be served from a disk. A bus that
        does not answer is not waited for: `state()` says so.
        """
        self._slots = slots
        await self._step(self._purges.read)
        if self._bus is not None:
            await self._hear_backlog(self._bus)
            self._tasks.append(begin(self._follow(self._bus), "purge-follow"))
        self._running = True
        self._tasks.append(begin(self._watch(), "purge-watch"))

    async def stop(self) -> None:
        """Stop following, finish what is being applied, say goodbye, close the log and the bus."""
        await end(self._tasks)
        while self._steps:
            await asyncio.wait(self._steps)
        if self._bus is not None:
            try:
                await self._bus.leave()
            except BusError as error:
                _log.info("the purge bus was not told that this worker ends: %s", error)
            await self._bus.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._purges.close)
        self._thread.shutdown(wait=False)

    # -- what others ask ---------------------------------------------------------------------------------------------

    @property
    def attached(self) -> bool:
        """Whether everything on the bus is applied here, so that the Redis tier may be used."""
        if self._bus is None:
            return True
        return self._attached and self._clock.monotonic() - self._heard_at < STALE_S

    @property
    def position(self) -> int:
        """Of the last purge that is applied, to memory too."""
        return self._position

    def state(self) -> PurgeState:
        """As of now."""
        silent_s = 0.0 if self._bus is None else self._clock.monotonic() - self._heard_at
        unplaced = 0 if self._bus is None else self._unplaced
        return PurgeState(self._position, self.heard.epoch, self.attached, unplaced, silent_s, self._error)

    def shared_mark(self, position: int) -> str | None:
        """The mark, for the Redis tier, of a value marked at this position; None: do not write it there."""
        return self._places.mark_at(position) if self.attached else None

    def mark_of(self, text: str) -> int | None:
        """The mark of a value found in the Redis tier; None: it is to be taken for a miss."""
        if not self.attached:
            return None
        return self._places.position_of(text, position=self.table.position, unplaced=self._first_unplaced)

    async def sync(self) -> int:
        """Read the log to its end and apply it; the position then. Raises PurgeLogError."""
        await self._step(self._purges.read)
        return self._position

    async def record(self, records: Sequence[PurgeRecord]) -> list[Applied]:
        """Purges made on this node: on disk and applied here when it returns. Raises PurgeLogError.

        What several callers bring while the disk is busy is written together.
        """
        self._made.extend(records)
        await self._step(None)
        try:
            return [self._recent[record.id] for record in records]
        except KeyError:
            raise PurgeLogError("the log of purges could not be written") from None

    def removed_by(self, first: int, last: int) -> int:
        """How many values the purges at these positions took out of this worker's memory, or made stale there."""
        return sum(applied.removed for applied in self._recent.values() if first <= applied.seq <= last)

    # -- the log -----------------------------------------------------------------------------------------------------

    async def _step(self, work: Callable[[], list[News]] | None) -> None:
        """One call of the log (None: write what was made here), and what it brought applied.

        Carried through even when the caller is cancelled.
        """
        task = asyncio.create_task(self._carry_out(work), name="purge-step")
        self._steps.add(task)
        task.add_done_callback(self._stepped)
        await asyncio.shield(task)

    def _stepped(self, task: asyncio.Task[None]) -> None:
        self._steps.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have left

    async def _carry_out(self, work: Callable[[], list[News]] | None) -> None:
        async with self._order:
            if work is None:
                made, self._made = self._made[:MAX_TOGETHER], self._made[MAX_TOGETHER:]
                work = partial(self._purges.add, made)
            for number, item in enumerate(await asyncio.get_running_loop().run_in_executor(self._thread, work), 1):
                await self._take(item)
                if number % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            ledger = self._purges.ledger
            self.heard = Heard(ledger.bus, ledger.heard, ledger.heard_id)
            self._unplaced = len(ledger.unplaced)
            self._first_unplaced = next(iter(ledger.unplaced.values()), None)

    async def _take(self, item: News) -> None:
        match item:
            case Numbered(seq, record):
                await self._take_record(record, seq)
            case Placed(epoch, seq, _):
                self._places.place(epoch, seq)
            case Skipped(epoch, seq):
                self._places.skip(epoch, seq)
            case Adopted(bus, birth, _):
                self._places.reset(bus, heard=birth)
            case Floor():
                await self._take_floor(item)

    async def _take_record(self, record: PurgeRecord, seq: int) -> None:
        if seq <= self.table.position:
            return
        self.table.apply(record, seq)
        removed = 0
        if self._running:
            removed = await self._apply(record)
            self._observe(record, max(0.0, self._clock.wall() - record.at))
        self._recent[record.id] = Applied(seq, removed)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        self._position = seq

    async def _take_floor(self, floor: Floor) -> None:
        """The log was written anew, and perhaps without something that this worker has not seen."""
        last = max(floor.soft, floor.validate)
        if self._running and last > self.table.position:
            unseen = Kind.VALIDATE if floor.validate > self.table.position else Kind.SOFT
            await self._apply(PurgeRecord("", Scope.ALL, "", unseen, UNKNOWN, ""))  # nobody can tell when
        self.table.fold(position=floor.position, soft=floor.soft, validate=floor.validate)
        self._places.reset(floor.bus, heard=floor.heard, folded=floor.folded, oldest=last)
        self._position = max(self._position, floor.position)

    async def _watch(self) -> None:
        """See what siblings wrote, should they not have been able to tell us."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                if await asyncio.to_thread(self._purges.changed):
                    await self._step(self._purges.read)
                if self._bus is None:
                    self._error = ""
            except PurgeLogError as error:
                self._failed(error)

    # -- the bus -----------------------------------------------------------------------------------------------------

    async def _hear_backlog(self, bus: PurgeBus) -> None:
        try:
            async with asyncio.timeout(BACKLOG_S):
                while await self._heard_more(bus):
                    pass
                await self._see_who_is_there(bus)
        except (BusError, PurgeLogError, TimeoutError) as error:
            self._failed(error)
        else:
            self._caught_up()

    async def _heard_more(self, bus: PurgeBus) -> bool:
        async with asyncio.timeout(self._catch_up_s):
            return await self._advance(bus)

    async def _follow(self, bus: PurgeBus) -> None:
        while True:
            try:
                await self._attend(bus)
            except (BusError, PurgeLogError) as error:
                self._failed(error)
                await asyncio.sleep(RETRY_S)

    async def _attend(self, bus: PurgeBus) -> None:
        while True:
            if await self._advance(bus):
                continue
            self._caught_up()
            if self._clock.monotonic() - self._roster_at >= ROSTER_S:
                await self._see_who_is_there(bus)
            await bus.wait(self.heard.epoch)

    async def _see_who_is_there(self, bus: PurgeBus) -> None:
        self._roster_at = self._clock.monotonic()
        self.witnesses.note(await bus.roster())
        with suppress(OSError):  # what can't be noted makes us forget too early, which is on the safe side
            await asyncio.get_running_loop().run_in_executor(self._thread, self._purges.touch)

    async def _advance(self, bus: PurgeBus) -> bool:
        """One exchange with the bus; False when neither side had anything new for the other."""
        known = self.heard
        hearing = await bus.hear(*known, slots=self._slots())
        self._heard_at = self._clock.monotonic()
        if hearing.bus != known.bus:
            if known.bus:
                _log.warning("the purge bus lost its past: it is told what this node remembers")
            await self._step(lambda: self._purges.adopt(hearing.bus, hearing.birth, hearing.bus))
        elif known.epoch < hearing.floor:
            _log.warning("purges up to epoch %d were missed: everything is validated before use", hearing.floor)
            await self._step(lambda: self._purges.skip(hearing.bus, hearing.floor))
        elif hearing.entries:
            await self._step(lambda: self._purges.hear(hearing.bus, hearing.entries))
        elif self._unplaced:
            await self._tell_backlog(bus, known)
            return True
        else:
            return False
        if self.heard == known:
            raise BusError("the purge bus has a gap")
        return True

    async def _tell_backlog(self, bus: PurgeBus, known: Heard) -> None:
        """Tell the bus some of what it does not have. What it has is heard like everything else."""
        async with self._order:
            ledger = self._purges.ledger
            records = [ledger.records[identity].record for identity in islice(ledger.unplaced, AT_ONCE)]
        epochs = await bus.publish(known.bus, records)
        passed = {record.id: epoch for record, epoch in zip(records, epochs, strict=False) if epoch <= known.epoch}
        if passed:
            await self._step(lambda: self._purges.place(known.bus, passed))

    def _caught_up(self) -> None:
        if not self._attached:
            _log.info("all purges are applied up to epoch %d", self.heard.epoch)
        self._attached, self._error = True, ""

    def _failed(self, error: Exception) -> None:
        if self._attached and self._bus is not None:
            _log.warning("purges made elsewhere are not heard of: %s", error)
        self._attached = self._bus is None
        self._error = str(error) or type(error).__name__
