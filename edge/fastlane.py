"""The fast lane: hot hits answered where their bytes come in, with what the short road has made for them before.

There is no parser here and no rule of HTTP. The lane knows a request by its bytes alone:

    hot      a whole head, line and block, that was answered a moment ago
    blocks   all of a head after the request line, as the strict parser has approved it, byte for byte
    spots    the request line -> what answers it

An answer (`edge.answers`) lives no longer than the value it was made of: the memory tier tells when that goes, by
eviction, purge or replacement (`dropped`). Whatever is not known here is parsed; the lane only must never be wrong.

What a block may change in an answer: conditions, ranges, and what the response varies on. Plain blocks have neither of
the first two; all of them get the same answer to a request line, and to any other block its own place belongs. The
answer there may stand in many: the short road looks it up by what is asked for, too (`ready`). Only where the response
varies it belongs to one block alone. A line that names a host hangs on the block's Host: it is learnt for no other.

The first hit after a `flush` counts for eviction at once (`Slot.hits`), the others at the next one, as do all for
metrics and for the slower tiers' sense of use.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from multidict import CIMultiDictProxy

from edge.answers import ONE_PIECE_BYTES, PAGED_BYTES, Answer, Block, Found, Name, Place, Sent
from edge.cache.conditional import shape
from edge.cache.eviction import Slot
from edge.cache.memory import MemoryStore
from edge.cache.model import UNCONDITIONAL, CacheKey, Conditions, Entry, Stored, Varying
from edge.cache.pages import Pipe
from edge.clock import Clock
from edge.inflight import InFlight

_LINE_END = b"\r\n"
_MOVED_AT_ONCE = 8 * 1024 * 1024  # bytes of bodies into pages; everybody waits meanwhile, some milliseconds
_LINE_OVERHEAD = 256
_MOST_HOT = 4096  # heads
_HOT_OVERHEAD = 160
_HOT_SHARE = 8  # of what the lane may keep, for hot heads
_BLOCK_SHARE = 4  # of it, for blocks
_LEAST_SEEN = 8192  # what came once is remembered by its hash: so many, or as many as there is room for answers
_ANSWER_BYTES = 2048  # of room that an answer takes, about; a hash takes a twentieth of it
_MOST_SPECIAL = 64  # blocks of their own for one request line
_MOST_PLACES = 64  # of one answer
# Fields that we write ourselves for the origin, from what we know of the connection: no request's bytes tell them.
_NOT_IN_THE_BYTES = frozenset({"via", "forwarded", "x-forwarded-for"})


class Spot:
    """What answers one request line."""

    __slots__ = ("plain", "special")

    def __init__(self) -> None:
        self.plain: Answer | None = None
        self.special: dict[Block, Answer] = {}


class Teller(Protocol):
    """Who is told of what the lane has served."""

    def served(self, answer: Answer, times: int, took_s: float) -> None:
        """So often since it was last told of; took_s: from the request's bytes to the answer's, for the first."""

    def cut(self, answer: Answer) -> None:
        """Its client left before it had all of it."""

    def logged(self, answer: Answer, block: Block, client: str, *, took_s: float, whole: bool) -> None:
        """One was served in so many seconds, and there is an access log. whole: the client has taken all of it."""


class Narrow:
    """The lane for connections that do not tell how much of a large body is still to be sent: those go the full road.

    uvloop's encrypted ones tell of what is not encrypted yet; behind that any amount may wait for the client.
    """

    has_room = False

    def __init__(self, lane: Lane) -> None:
        self.hot: dict[bytes, Answer] = {}
        self.logs = lane.logs
        self.given, self.began, self.ended = lane.given, lane.began, lane.ended
        self.noted, self.log, self.learn, self.recognise = lane.noted, lane.log, lane.learn, lane.recognise
        self._wide = lane

    @property
    def open(self) -> bool:
        """As the lane's."""
        return self._wide.open

    def answer(self, head: bytes) -> Answer | None:
        """As the lane's, but small ones only."""
        answer = self._wide.answer(head)
        return None if answer is None or answer.whole is None else answer


class Lane:
    """One worker's. max_bytes: of all that it keeps, beside the bodies. logs: each hit is told of for the log.

    by_bytes: requests are known by their bytes, too; otherwise only the short road asks (`ready`). max_unsent_bytes: of
    bodies that clients have begun to take; when there are more, large ones take the full road. pipe: for those that are
    not copied on their way; None copies all. It watches the memory tier (`edge.cache.memory.Watcher`).
    """

    def __init__(
        self,
        *,
        memory: MemoryStore,
        clock: Clock,
        max_bytes: int,
        max_unsent_bytes: int,
        teller: Teller,
        in_flight: InFlight,
        pipe: Pipe | None = None,
        by_bytes: bool = True,
        logs: bool = False,
    ) -> None:
        self._by_bytes = by_bytes
        self._memory = memory
        self._clock = clock
        self._now = clock.monotonic
        self._max_bytes = max_bytes
        self._max_unsent_bytes = max_unsent_bytes
        self._teller = teller
        self._in_flight = in_flight
        self.pipe = pipe
        self.logs = logs
        self.has_room = True
        """Whether more large bodies may be begun."""
        self._unsent_bytes = 0
        self._hot_bytes = 0
        self._blocks: dict[bytes, Block] = {}
        self._spots: dict[bytes, Spot] = {}
        self._ready: dict[Name, Answer] = {}
        self._answers: dict[Answer, None] = {}  # all of them, the oldest first
        self._by_key: dict[CacheKey, set[Answer]] = {}
        self._bytes = 0
        self._block_bytes = 0
        self._given: list[Answer] = []
        self.open = True
        """Whether hits are answered outside of the full road."""
        self._seen: set[int] = set()
        self.hot: dict[bytes, Answer] = {}
        """Answers to whole heads of known blocks; to be used while they are of now, which is the reader's to see to."""
        self.narrow = Narrow(self)
        memory.watch(self)

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def used_bytes(self) -> int:
        """Of memory, beside the bodies."""
        return self._bytes + self._block_bytes + self._hot_bytes

    # -- each hit ------------------------------------------------------------------------------------------------------

    def answer(self, head: bytes) -> Answer | None:
        """The answer to a request of exactly these bytes; None when it has to take the full road."""
        end = head.find(_LINE_END)
        block = self._blocks.get(head[end:])
        spot = self._spots.get(head[:end])
        if block is None or spot is None:
            return None
        answer = (spot.plain if block.plain else None) or spot.special.get(block)
        if answer is None or not (self.has_room or answer.whole is not None):
            return None
        now = self._now()
        if now >= answer.until and not self._renewed(answer, now):
            return None
        if head not in self.hot:
            self._hot_bytes += len(head) + _HOT_OVERHEAD
            if self._hot_bytes > self._max_bytes // _HOT_SHARE or len(self.hot) >= _MOST_HOT:
                self._cool()
                self._hot_bytes = len(head) + _HOT_OVERHEAD
        self.hot[head] = answer
        return answer

    def given(self, answer: Answer) -> None:
        """The answer has been handed to the connection."""
        if not answer.keys:  # it was for this one time: there is nothing to gather, and nothing to hold on to
            answer.slot.hits += 1
            self._teller.served(answer, 1, answer.took_s)
            return
        if not answer.count:
            answer.slot.hits += 1
            self._given.append(answer)
        answer.count += 1

    def began(self, answer: Answer) -> None:
        """It has been handed over, but the client has yet to take most of it."""
        self._unsent_bytes += answer.bytes
        self.has_room = self._unsent_bytes < self._max_unsent_bytes
        self._in_flight.enter()

    def ended(self, answer: Answer, *, whole: bool) -> None:
        """The client has taken it, or left."""
        self._unsent_bytes -= answer.bytes
        self.has_room = self._unsent_bytes < self._max_unsent_bytes
        self._in_flight.leave()
        if whole:
            self.given(answer)
        else:
            self._teller.cut(answer)

    def noted(self, sent: Sent) -> Sent:
        """The same with what the log will want to know: by the time the client has taken it the block may be gone."""
        if sent.block is not None:
            return sent
        return sent._replace(block=self._blocks.get(sent.head[sent.head.find(_LINE_END) :]))

    def log(self, sent: Sent, client: str, *, whole: bool) -> None:
        """For the access log: what has been sent to that client, and whether it has taken all of it."""
        if sent.block is not None:
            self._teller.logged(sent.answer, sent.block, client, took_s=self._now() - sent.asked_at, whole=whole)

    # -- for the short road --------------------------------------------------------------------------------------------

    def ready(self, method: str, uri: str, conditions: Conditions) -> Answer | None:
        """The answer to a request with these conditions and no others, however its bytes look."""
        sent = None
        if conditions is not UNCONDITIONAL:
            value = self._memory.peek(CacheKey(uri))
            if not isinstance(value, Entry):
                return None
            sent = shape(value.head, conditions)
            if sent.status == value.head.status:
                sent = None
        answer = self._ready.get((method, uri, sent))
        if answer is None or not (self.has_room or answer.whole is not None):
            return None
        now = self._now()
        return answer if now < answer.until or self._renewed(answer, now) else None

    def recognise(self, head: bytes, answer: Answer, headers: CIMultiDictProxy[str]) -> None:
        """A request of these bytes was given that answer: the next one of the same bytes may be, too.

        A plain request whose line names a host is not for here: the answer would hang on the Host field. To be called
        when the answer has been sent: it may have to make room for another.
        """
        end = head.find(_LINE_END)
        if not self._by_bytes or end <= 0 or not self.open or answer.name is None:
            return
        block = self._blocks.get(head[end:])
        if block is None:
            if not self._seen_before(head[end:]):
                return
            block = self._approve(Block.of(headers, head[end:]))
        line = head[:end]
        if answer in self._answers and (b" /" in line or not block.plain):
            self._place(answer, line, None if block.plain else block)

    def _place(self, answer: Answer, line: bytes, block: Block | None) -> None:
        """From now on it answers that line with that block; None: with any plain one."""
        before = self._at(line, block)
        if before is answer:
            return
        if before is not None:
            self._displace(before, (line, block))
        spot = self._spots.get(line)
        if spot is None:
            spot = self._spots[line] = Spot()
        if block is None:
            spot.plain = answer
        else:
            if len(spot.special) >= _MOST_SPECIAL:
                other, last = next(iter(spot.special.items()))
                self._displace(last, (line, other))
            spot.special[block] = answer
        answer.places.append((line, block))
        if len(answer.places) > _MOST_PLACES:  # queries that do not count make as many lines as somebody likes
            self._displace(answer, answer.places[0])
        self._weigh(answer, _weight(line, block))

    def _at(self, line: bytes, block: Block | None) -> Answer | None:
        spot = self._spots.get(line)
        if spot is None:
            return None
        return spot.plain if block is None else spot.special.get(block)

    def _displace(self, answer: Answer, place: Place) -> None:
        """It gives way to another there."""
        if answer.name is None:
            self._end(answer)  # it has no other
            return
        answer.places.remove(place)
        self._leave(answer, place)
        self._weigh(answer, -_weight(*place))

    def learn(self, head: bytes, found: Found) -> Answer:
        """The short road has found that for a request of these bytes. What is asked for again is kept."""
        slot = self._memory.slot(found.hit.key)
        if slot is not None:
            slot.hits -= 1  # the look-up has counted this use, and handing it over will
        answer = None
        if slot is not None and found.learnable and self.open:
            if not found.hit.key.part:
                name = found.name
                if self._seen_before(name):
                    answer = self._make_ready(found, slot, name)
            elif self._by_bytes and self._seen_before(head):
                answer = self._learn_special(head, found, slot)
        return answer or Answer.once(found, slot or Slot(found.hit.key, Varying(()), 0))

    def _seen_before(self, asked: Hashable) -> bool:
        """Whether it is worth keeping."""
        identity = hash(asked)
        if identity in self._seen:
            return True
        if len(self._seen) >= max(_LEAST_SEEN, self._max_bytes // _ANSWER_BYTES):
            self._seen.clear()
        self._seen.add(identity)
        return False

    def _make_ready(self, found: Found, slot: Slot, name: Name) -> Answer | None:
        answer = self._made(found, slot, name)
        if answer is None:
            return None
        before = self._ready.get(name)
        if before is not None:
            self._end(before)
        self._ready[name] = answer
        self._keep(answer)
        return answer if answer in self._answers else None

    def _learn_special(self, head: bytes, found: Found, slot: Slot) -> Answer | None:
        """An answer that belongs to one header block alone."""
        end = head.find(_LINE_END)
        answer = self._made(found, slot, None) if end > 0 else None
        if answer is None:
            return None  # an empty line before the request: what is behind it is no block
        block = self._approve(Block.of(found.headers, head[end:]))
        self._keep(answer)
        if answer in self._answers:
            self._place(answer, head[:end], block)
        return answer if answer in self._answers else None

    def _made(self, found: Found, slot: Slot, name: Name | None) -> Answer | None:
        """The answer, made so that it can be renewed; None when that is not possible."""
        keys = self._keys(found.hit.key)
        answer = None if keys is None else Answer.lasting(found, slot, keys, name)
        if answer is None:
            return None
        if slot.pages is not None and self.pipe is not None and answer.bytes > ONE_PIECE_BYTES:
            answer.lie_in(slot.pages)
        return answer if self._renewed(answer, self._now()) else None

    def close(self) -> None:
        """From now on everything takes the full road."""
        self.open = False
        self._cool()
        for answer in tuple(self._answers):
            self._end(answer)
        self._blocks.clear()
        self._block_bytes = 0

    def flush(self) -> None:
        """Tell of what has been given since the last time."""
        given, self._given = self._given, []
        moved = 0
        for answer in given:
            count, answer.count = answer.count, 0
            answer.slot.hits += count - 1
            if count > 1 and answer.bytes >= PAGED_BYTES and moved < _MOVED_AT_ONCE:
                moved += self._move_into_pages(answer)
            self._teller.served(answer, count, answer.took_s)

    def _move_into_pages(self, answer: Answer) -> int:
        """It is asked for so often that it is worth a copy now to have none later; bytes that were copied."""
        if self.pipe is None or answer.pages is not None or answer not in self._answers:
            return 0
        before = answer.slot.pages
        pages = self._memory.in_pages(answer.slot)
        if pages is None:
            return 0
        for other in self._by_key[answer.key]:  # its parts, too: else the body would stay where it was as well
            if other.slot is answer.slot and other.bytes > ONE_PIECE_BYTES:
                other.lie_in(pages)
        return len(pages.view) if before is None else 0

    # -- what the memory tier tells ------------------------------------------------------------------------------------

    def stored(self, _key: CacheKey, _value: Stored) -> None:
        """What is new was not known here."""

    def dropped(self, key: CacheKey, _value: Stored) -> None:
        """What was answered from that value is void, at once."""
        answers = self._by_key.pop(key, None)
        if answers is not None:
            for answer in answers:
                self._end(answer)

    # ------------------------------------------------------------------------------------------------------------------

    def _keys(self, key: CacheKey) -> tuple[CacheKey, ...] | None:
        """The values that an answer hangs on. None: which variant is served may change without any of them changing."""
        if not key.part:
            return (key,)
        primary = CacheKey(key.uri)
        varying = self._memory.peek(primary)
        if not isinstance(varying, Varying) or len(varying.specs) != 1:
            return None
        return None if _NOT_IN_THE_BYTES.intersection(varying.specs[0]) else (key, primary)

    def _approve(self, new: Block) -> Block:
        block = self._blocks.setdefault(new.raw, new)
        if block is new:
            self._block_bytes += block.size
            while self._block_bytes > self._max_bytes // _BLOCK_SHARE:
                self._forget_block(next(iter(self._blocks)))
        return block

    def _forget_block(self, raw: bytes) -> None:
        self._block_bytes -= self._blocks.pop(raw).size
        self._cool()

    def _cool(self) -> None:
        self.hot.clear()
        self._hot_bytes = 0

    def _keep(self, answer: Answer) -> None:
        self._answers[answer] = None
        for key in answer.keys:
            self._by_key.setdefault(key, set()).add(answer)
        self._bytes += answer.size
        self._make_room()

    def _weigh(self, answer: Answer, more: int) -> None:
        answer.size += more
        self._bytes += more
        if more > 0:  # who gives something back is in the middle of a change: nobody's place may go meanwhile
            self._make_room()

    def _make_room(self) -> None:
        most = self._max_bytes - self._max_bytes // _HOT_SHARE - self._block_bytes
        while self._bytes > most and self._answers:
            self._end(next(iter(self._answers)))

    def _end(self, answer: Answer) -> None:
        """It is nowhere any more, and nothing of the stored value is held on to."""
        if self._answers.pop(answer, answer) is answer:
            return  # it was over before
        for place in answer.places:
            self._leave(answer, place)
        if answer.name is not None and self._ready.get(answer.name) is answer:
            del self._ready[answer.name]
        for key in answer.keys:
            answers = self._by_key.get(key)
            if answers is not None:
                answers.discard(answer)
                if not answers:
                    del self._by_key[key]
        self._bytes -= answer.size
        answer.let_go()

    def _leave(self, answer: Answer, place: Place) -> None:
        line, block = place
        if self._at(line, block) is not answer:
            return
        spot = self._spots[line]
        if block is None:
            spot.plain = None
        else:
            del spot.special[block]
        if spot.plain is None and not spot.special:
            del self._spots[line]

    def _renewed(self, answer: Answer, now: float) -> bool:
        """Let its head be of now; False, and it is gone, when its value is not to be served unasked any more."""
        if answer.renew(now, self._clock):
            return True
        if answer.until:
            self._end(answer)
        return False


def _weight(line: bytes, block: Block | None) -> int:
    """Bytes that a place takes; the block may be forgotten before the answer."""
    return _LINE_OVERHEAD + len(line) + (0 if block is None else len(block.raw))
