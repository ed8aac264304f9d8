"""Which jobs of a lane go to the core, and when.

A window is what waits in the core's line: about as many jobs as the lane's workers have slots, so that a slot that
becomes free is filled at once. What does not fit stays on disk and costs no memory.
"""

from collections.abc import Iterable
from typing import Any, Final

from .attempts import WAITING_SIZE_BYTES_MAX, Attempts
from .job import DISK, STARTING, Job
from .keys import Keys
from .lanes import NEVER, Lane, Lanes
from .lives import Lives
from .memory import Memory
from .ports import JournalError, NextFound, NextInLane
from .reads import Reads
from .states import JobState

WINDOW_COUNT_MIN: Final = 256
WINDOW_COUNT_MAX: Final = 1024
"""Jobs of one lane that wait in the core's line: enough to bridge a read from disk at ten thousand jobs a second. A job
that is read back costs twice the CPU of one that went straight in, and many at once cost less each."""

WAITING_COUNT_MAX: Final = 10_000
"""Jobs that wait in the core's line, over all lanes: a tenth of what that holds, for requests wait there as well."""

LANES_READ_COUNT_MAX: Final = 32
LANE_READ_SIZE_BYTES_MAX: Final = 2 * 1024 * 1024
"""Lanes that are read at once, and the data that each may bring; a worker that serves a thousand full lanes would
otherwise bring all that they have into memory, and hold up commits while it is read."""

POLL_S: Final = 1.0
"""How often lanes with ready jobs and no workers are checked: workers come back by more ways than by connecting."""


class Windows:
    """`is_closed`: no more jobs go to the core, for the broker is stopping. `count_min`: WINDOW_COUNT_MIN, unless a
    test of full windows sets it lower."""

    __slots__ = (
        "_attempts",
        "_keys",
        "_lanes",
        "_lives",
        "_memory",
        "_poll_at",
        "_reading_count",
        "_reads",
        "count_min",
        "is_closed",
    )

    def __init__(
        self, *, memory: Memory, lanes: Lanes, lives: Lives, attempts: Attempts, keys: Keys, reads: Reads
    ) -> None:
        self._memory = memory
        self._lanes = lanes
        self._lives = lives
        self._attempts = attempts
        self._keys = keys
        self._reads = reads
        self._poll_at = NEVER
        self._reading_count = 0
        self.is_closed = False
        self.count_min = WINDOW_COUNT_MIN

    @property
    def next_at(self) -> float:
        """When to call `advance` next."""
        return min(self._poll_at, self._lanes.next_at)

    def written(self, job: Job, now: float) -> None:
        """All of a job is on disk: see where it goes from here."""
        if job.place == STARTING:
            if self.is_closed:
                self._attempts.withdraw(job, now)
            else:
                self._attempts.send(job, now)
        elif job.place == DISK:
            if job.state is JobState.ACCEPTED:
                is_next = job.lane.ready_at > now and not job.lane.is_reading
                self._place(job, now, is_next=is_next)
            else:
                self._memory.release(job)

    def _place(self, job: Job, now: float, *, is_next: bool) -> bool:
        """Give an accepted job to the core, if it is its turn and there is room; False if not, so that it is on disk
        only. `is_next`: nothing on disk goes before it."""
        lane = job.lane
        window = self._window(lane, now)
        if not window or job.run_at > now or not job.has_data:
            self._attempts.store(job)
            return False
        last = lane.last_waiting() if lane.waiting else None
        is_before_last = last is not None and job.rank < last.rank
        has_room = len(lane.waiting) < window and self._has_room(lane, job)
        if not is_before_last and not (is_next and has_room):
            self._attempts.store(job)
            return False
        if not has_room and last is not None:
            self._attempts.withdraw(last, now)
        self._enter(job, now)
        return True

    def _window(self, lane: Lane, now: float) -> int:
        """How many of its jobs may wait in the core's line."""
        slots_count = 0 if self.is_closed or now < lane.not_before else self._lanes.slots_count(lane)
        return min(max(slots_count, self.count_min), WINDOW_COUNT_MAX) if slots_count else 0

    def _has_room(self, lane: Lane, job: Job) -> bool:
        attempts = self._attempts
        if not lane.waiting:
            return True
        size_bytes = attempts.waiting_size_bytes + job.data_size_bytes
        return size_bytes <= WAITING_SIZE_BYTES_MAX and attempts.waiting_count < WAITING_COUNT_MAX

    def _enter(self, job: Job, now: float) -> None:
        if job.new.key is None or self._keys.enter(job):
            self._attempts.begin(job, now)

    def clock_stepped(self, by_s: float, now: float) -> None:
        """The clock was set, or has stood still."""
        if self._poll_at < NEVER:
            self._poll_at = min(self._poll_at + by_s, now + POLL_S)

    # --- more from disk ---------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Touch the lanes whose time has come."""
        self._lanes.due(now)
        if now >= self._poll_at:
            self._poll_at = NEVER
            self._lanes.touched |= self._lanes.unserved
            self._lanes.unserved.clear()

    def served(self, commands: Iterable[str]) -> None:
        """A worker has joined that serves these."""
        unserved = self._lanes.unserved
        if unserved:
            names = frozenset(commands)
            for lane in tuple(unserved):
                if lane.command in names:
                    del unserved[lane]
                    self._lanes.touched[lane] = None

    def fill(self, now: float) -> None:
        """Look after the lanes that something has happened to; if as many are being read as may be, then after the rest
        in a later turn."""
        lanes = self._lanes
        touched, lanes.touched = lanes.touched, {}
        rest = iter(touched)
        for lane in rest:
            self._refill(lane, now)
            if self._reading_count >= LANES_READ_COUNT_MAX:
                lanes.touched = dict.fromkeys(rest)

    def _refill(self, lane: Lane, now: float) -> None:
        """Ask for more jobs if less than half of the window waits."""
        if lane.is_reading or self.is_closed:
            return
        at = max(lane.ready_at, lane.not_before)
        if at > now:
            if at < NEVER:
                self._lanes.wake(lane, at)
            return
        window = self._window(lane, now)
        if not window:
            self._lanes.unserved[lane] = None
            self._poll_at = min(self._poll_at, now + POLL_S)
            return
        count = len(lane.waiting)
        if 2 * count >= window:
            return
        attempts = self._attempts
        size_bytes_max = WAITING_SIZE_BYTES_MAX - attempts.waiting_size_bytes
        if count and (size_bytes_max <= 0 or attempts.waiting_count >= WAITING_COUNT_MAX):
            return
        lane.is_reading = True
        self._reading_count += 1
        lane.stored_at = NEVER
        loaded = frozenset(
            [job.new.seq for job in lane.waiting]
            + [job.new.seq for job in self._lives.unrecorded if job.lane is lane]
        )
        size_bytes_max = min(max(0, size_bytes_max), LANE_READ_SIZE_BYTES_MAX)
        query = NextInLane(lane.number, window - count, size_bytes_max, loaded, now)
        self._reads.ask(query, self._found, lane)

    def _found(self, lane: Lane, answer: Any, now: float) -> None:
        lane.is_reading = False
        self._reading_count -= 1
        self._lanes.touched[lane] = None
        if isinstance(answer, JournalError):
            lane.not_before = now + POLL_S
            return
        found: NextFound = answer
        left_at = now if found.ready_left else NEVER if found.run_at_min is None else found.run_at_min
        lane.ready_at = min(left_at, lane.stored_at)
        loaded_count = placed_count = 0
        for stored in found.jobs:
            if stored.new.job_id not in self._memory.by_id:
                loaded_count += 1
                placed_count += self._place(self._memory.take(stored, has_data=True), now, is_next=True)
        if not loaded_count and lane.ready_at <= now:  # what is on disk is not as it is: the journal fails
            lane.not_before = now + POLL_S
        elif loaded_count and not placed_count and lane.waiting:  # there is no room before one of these goes
            self._lanes.touched.pop(lane, None)

    # --- the end ----------------------------------------------------------------------------------------------------

    def close(self, now: float) -> None:
        """Take everything that waits back from the core."""
        self.is_closed = True
        for lane in self._lanes.by_number.values():
            for job in tuple(lane.waiting):
                self._attempts.withdraw(job, now)
