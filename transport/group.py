"""What all links of one event loop share: one flush per turn, and one check of their health every half second.

A link that has something to send registers here. However many do, and however much they send, one callback per turn of
the loop writes it all, with one write per link: an event loop does not join writes by itself, and a system call per
message would cost more than the message. No link has a timer of its own.

If the program wants to know how long it takes itself, the group reports its turns: a turn begins with the first read
and ends when all that was queued because of it has been passed to the operating system. Then its links also take turns
in reading, so that none, however much its peer sends, keeps the others waiting: a turn that has lasted some
milliseconds stops each link that still has much to read, and those that were stopped read on in order, as many as a
turn has time for.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

SWEEP_INTERVAL_S: Final = 0.5
"""How often links are checked. Small beside SILENCE_S_MAX, so that a dead worker is found within 10 s."""

PAUSE_S_MIN: Final = 1.0
"""A timer that goes off this late was not delayed by a busy loop: the process, or its machine, stood still."""

READ_BUFFER_SIZE_BYTES: Final = 256 * 1024
"""The most that one read takes. Kept for good: memory of this size, if allocated for each read, is mapped and unmapped
by the system each time, which costs more than the reading."""

SHORT_READ_SIZES_BYTES: Final = (512, 1024, 2048, 4096, 8192)
"""What one read may take where links take turns, besides what is missing of an unfinished frame. A link begins with the
smallest, so that a hundred that come at once and flood do not make one turn of 100 ms; it reads more at once while
turns are short, and less when they are long, because it is sent many short messages: of the shortest requests, 8 KiB
hold 270, which take 3 ms."""

BUSY_READ_SIZE_BYTES: Final = 2048
"""A link that reads this much at once has much to read. One request, or the answers of a few, are less."""

READERS_COUNT_MAX: Final = 64
"""Links that may read on in one turn, after they have waited for it."""

NO_BOUND: Final = 2**61
"""In place of a bound: more than can wait. From 2**62 on, a compiled integer is an object."""

SLOW_READER: Final = "slow reader"
"""The first words of the reason why a link is dropped if its peer does not read."""

UNSENT_SHARE_KEPT: Final = 7 / 8
"""When too much waits for slow readers, links are dropped until no more than this share of the bound waits: finding
them takes a look at each, which must not be needed for every message."""

READ_S_MAX: Final = 0.005
"""How long a turn may last before it stops links that have large messages to read. Stopping them costs about 5 % of the
CPU of a request of 256 KiB if a turn ends after 2 ms, and under 1 % with 5 ms."""

SHORT_READ_S_MAX: Final = 0.001
"""The same for links that have short messages to read: to stop them costs little beside the hundred messages that fill
the time. The call of another takes about four turns: its request and its response each come during one and are read in
the next. So a flood costs it about four times that."""


class Sweepable(Protocol):
    """What the group does with a link."""

    def flush(self) -> None:
        """Write out what is queued."""

    def check(self, now: float) -> None:
        """Check deadlines and silence; `now` is `time.monotonic()`."""

    def read_on(self) -> None:
        """Read again, after `LinkGroup.wait_turn`."""

    def stalled_s(self, now: float) -> float:
        """How long its peer has taken nothing, if something waits for it."""

    def abort(self, reason: str) -> None:
        """Drop it, and what waits for its peer."""


TurnEnded = Callable[[float, float], None]
"""Called after each turn, in which messages may have come and gone, with its begin and its end, in seconds of
`time.monotonic()`."""

Swept = Callable[[float], None]
"""Called after each check of all links, with its time."""


class LinkGroup:
    """The links of one program on one event loop. Made in the running loop; `close` ends its timer.

    `unsent_size_bytes` wait for peers that do not take all at once, at most `unsent_size_bytes_max`, which may be
    changed; beyond it the links are dropped for which most waits, and which have taken nothing for longest.
    """

    __slots__ = (
        "_is_flush_due",
        "_is_skipped",
        "_loop",
        "_readers_count",
        "_sweep_at",
        "_swept",
        "_timer",
        "_turn_ended",
        "_turn_s_max",
        "_unflushed",
        "_unsent",
        "_waiting",
        "buffers",
        "is_between_turns",
        "links",
        "read_buffer",
        "read_sizes",
        "turn_began_at",
        "unsent_size_bytes",
        "unsent_size_bytes_max",
    )

    def __init__(
        self,
        turn_ended: TurnEnded | None = None,
        swept: Swept | None = None,
        unsent_size_bytes_max: int = NO_BOUND,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._swept = swept
        self._turn_ended = turn_ended
        self.turn_began_at = math.inf
        """When the turn began. Never, if turns are not reported."""
        self._is_flush_due = False
        self.is_between_turns = turn_ended is not None
        """The next link to read must call `open_turn`. Never true if turns are not reported."""
        self._unflushed: list[Sweepable] = []
        self._unsent: dict[Sweepable, int] = {}
        """What waits for each slow reader, in bytes."""
        self.unsent_size_bytes = 0
        self.unsent_size_bytes_max = unsent_size_bytes_max
        self.links: set[Sweepable] = set()
        self.read_buffer = memoryview(bytearray(READ_BUFFER_SIZE_BYTES))
        """All links of the loop read into this: see `Link.get_buffer`."""
        sizes = SHORT_READ_SIZES_BYTES if turn_ended else (READ_BUFFER_SIZE_BYTES,)
        self.read_sizes: Final = sizes
        """What one read may take: more than one size if links take turns."""
        self.buffers: Final = {size: self.read_buffer[:size] for size in sizes}
        self._readers_count = 1
        self._turn_s_max = READ_S_MAX
        self._waiting: deque[Sweepable] = deque()
        self._is_skipped = False
        """The last check was left out, because this process had been paused."""
        self._sweep_later(time.monotonic())

    def flush_soon(self, link: Sweepable) -> None:
        """Call `link.flush` before the loop waits for I/O again. A link asks once until it is flushed."""
        if not self._is_flush_due:
            self.open_turn()
        self._unflushed.append(link)

    def open_turn(self) -> None:
        """Begin a turn; it ends, with a flush, before the loop waits for I/O again."""
        if self._turn_ended is not None:
            self.turn_began_at = time.monotonic()
            self.is_between_turns = False
        self._is_flush_due = True
        self._loop.call_soon(self._flush)

    def wait_turn(self, link: Sweepable, turn_s_max: float) -> None:
        """Call `link.read_on` in a later turn, after all links that wait already. Turns of links like it are to last no
        longer than `turn_s_max`."""
        self._turn_s_max = turn_s_max
        if not self._waiting:
            self._loop.call_soon(self._let_next_read)
        self._waiting.append(link)

    def note_unsent(self, link: Sweepable, size_bytes: int) -> None:
        """So much waits for the peer of `link`, which does not take all at once."""
        self.unsent_size_bytes += size_bytes - self._unsent.pop(link, 0)
        if size_bytes:
            self._unsent[link] = size_bytes
            if self.unsent_size_bytes > self.unsent_size_bytes_max:
                self._drop_slow_readers()

    def close(self) -> None:
        """Stop the sweep. Closing the links that are still open is up to their owner."""
        self._timer.cancel()

    def _flush(self) -> None:
        self._is_flush_due = False
        self.is_between_turns = self._turn_ended is not None
        began_at = self.turn_began_at
        links, self._unflushed = self._unflushed, []
        for link in links:
            link.flush()
        if self._turn_ended is not None:
            now = time.monotonic()
            if self._waiting:
                is_short = now - began_at < self._turn_s_max
                count = self._readers_count
                self._readers_count = min(READERS_COUNT_MAX, count + 1) if is_short else max(1, count // 2)
            self._turn_ended(began_at, now)

    def _drop_slow_readers(self) -> None:
        """Too much waits: drop the links for which most waits and which take least. A link's own reader may be among
        them; to have taken something within the last check says nothing."""
        now = time.monotonic()
        bound = self.unsent_size_bytes_max
        unsent = self._unsent
        weights = {
            link: size_bytes * max(SWEEP_INTERVAL_S, link.stalled_s(now))
            for link, size_bytes in unsent.items()
        }
        for link in sorted(weights, key=weights.__getitem__, reverse=True):
            if self.unsent_size_bytes <= bound * UNSENT_SHARE_KEPT:
                return
            link.abort(
                f"{SLOW_READER}: over {bound} bytes wait for all of them, and much of that for it "
                "(unsent_size_bytes_max)"
            )

    def _let_next_read(self) -> None:
        for _ in range(min(self._readers_count, len(self._waiting))):
            self._waiting.popleft().read_on()
        if self._waiting:
            self._loop.call_soon(self._let_next_read)

    def _sweep(self) -> None:
        now = time.monotonic()
        # After a pause of this process, what its peers have sent meanwhile is read first. But not again and again: a
        # loop that is always this late must still end links, and logins.
        self._is_skipped = not self._is_skipped and now - self._sweep_at >= PAUSE_S_MIN
        if not self._is_skipped:
            for link in tuple(self.links):
                link.check(now)
            if self._swept is not None:
                self._swept(now)
        self._sweep_later(now)

    def _sweep_later(self, now: float) -> None:
        self._sweep_at = now + SWEEP_INTERVAL_S
        self._timer = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep)
