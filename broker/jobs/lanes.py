"""Lanes: jobs of one command with one target, which wait in one line.

Order in a lane: the highest priority first, then the earliest `run_at`, then the lowest seq. Of each lane only a window
is in memory: the jobs that workers have, and a few that wait in the core's line.
"""

from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from ...protocol.field_types import Label, Target
from ..core.core import Core
from ..core.fleet.route import mismatch, target_key
from .job import Job
from .ports import LaneCount
from .rows import LaneRow

NEVER: Final = float("inf")

LANES_COUNT_MAX: Final = 10_000
"""Each costs a kilobyte of memory and a row, and is checked every second while it has jobs and no worker."""

CLOCK_SLACK: Final = 1000
"""Times in the clock that are not valid any more, before they are swept out, besides as many as there are lanes."""

PAUSE_S_MAX: Final = 1.0
"""How far ahead of now `not_before` is, unless the lane waits for claims."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Label | Target).decode


class Lane:
    """`accepted_count`, `assigned_count`: its jobs in these states, on disk or in memory; `jobs_count`: all of which
    there is a row. `waiting`: those that wait in the core's line.

    `ready_at`: no job that is on disk only is ready before. It may be too early, never too late. `is_reading`: the
    journal was asked for more; `stored_at` is the earliest `run_at` of what went to disk since. `not_before`: nothing
    of it goes to the core before. `wake_at`: its time in the clock of Lanes. `worst`: see `last_waiting`. `is_written`:
    its row is on disk. `is_gone`: nothing is left of it.
    """

    __slots__ = (
        "accepted_count",
        "assigned_count",
        "command",
        "is_gone",
        "is_reading",
        "is_written",
        "jobs_count",
        "key",
        "not_before",
        "number",
        "ready_at",
        "stored_at",
        "target",
        "waiting",
        "wake_at",
        "worst",
    )

    def __init__(self, number: int, command: str, target: str | Target | None, key: object) -> None:
        self.number = number
        self.command = command
        self.target = target
        self.key = key
        self.accepted_count = 0
        self.assigned_count = 0
        self.jobs_count = 0
        self.waiting: dict[Job, None] = {}
        self.worst: Job | None = None
        self.ready_at = NEVER
        self.stored_at = NEVER
        self.is_reading = False
        self.is_written = False
        self.is_gone = False
        self.not_before = 0.0
        self.wake_at = NEVER

    @property
    def loaded_count(self) -> int:
        """Jobs that wait in the core's line."""
        return len(self.waiting)

    @property
    def row(self) -> LaneRow:
        """What the journal keeps of it."""
        return LaneRow(self.number, self.command, None if self.target is None else _encode(self.target))

    def last_waiting(self) -> Job:
        """Of the jobs that wait in the core's line, of which there is one at least, the one that goes last."""
        if self.worst is None:
            self.worst = max(self.waiting, key=_rank)
        return self.worst

    def wait(self, job: Job) -> None:
        """`job` goes to the core's line."""
        if self.worst is not None and job.rank > self.worst.rank:
            self.worst = job
        self.waiting[job] = None

    def waits_no_more(self, job: Job) -> None:
        """`job` has left the core's line."""
        del self.waiting[job]
        if job is self.worst:
            self.worst = None


def _rank(job: Job) -> tuple[int, float, int]:
    return job.rank


class Lanes:
    """All lanes, by number, and when each is to be looked at. `touched`: those to look at in this turn."""

    __slots__ = ("_by_key", "_clock", "_core", "_number", "by_number", "touched", "unserved")

    def __init__(self, core: Core) -> None:
        self._core = core
        self.by_number: dict[int, Lane] = {}
        self._by_key: dict[object, Lane] = {}
        self._clock: list[tuple[float, int]] = []
        self._number = 0
        self.touched: dict[Lane, None] = {}
        self.unserved: dict[Lane, None] = {}
        """Those with ready jobs that no worker serves: checked every second."""

    def find(self, command: str, target: str | Target | None) -> Lane | None:
        """The lane of these jobs, if there is one."""
        return self._by_key.get(command if target is None else (command, target_key(target)))

    def add(self, command: str, target: str | Target | None) -> Lane:
        """A new lane."""
        key: object = command if target is None else (command, target_key(target))
        self._number += 1
        lane = self.by_number[self._number] = self._by_key[key] = Lane(self._number, command, target, key)
        return lane

    def remove(self, lane: Lane) -> None:
        """Nothing is left of a lane."""
        lane.is_gone = True
        del self.by_number[lane.number]
        del self._by_key[lane.key]
        self.touched.pop(lane, None)
        self.unserved.pop(lane, None)

    def opened(self, rows: list[LaneRow], counts: list[LaneCount]) -> list[int]:
        """What the journal has. Returns the numbers of lanes without jobs: the broker was killed between the removal
        of the last one and of the row. Nothing is left of them."""
        counted = {count.lane for count in counts}
        for row in rows:
            self._number = max(self._number, row.lane)
            if row.lane not in counted:
                continue
            target: str | Target | None = None if row.target is None else _decode(row.target)
            key: object = row.command if target is None else (row.command, target_key(target))
            lane = self.by_number[row.lane] = self._by_key[key] = Lane(row.lane, row.command, target, key)
            lane.is_written = True
        for count in counts:
            lane = self.by_number[count.lane]
            lane.accepted_count = count.accepted_count
            lane.jobs_count = count.jobs_count
            if count.run_at_min is not None:
                lane.ready_at = count.run_at_min
        return [row.lane for row in rows if row.lane not in counted]

    def slots_count(self, lane: Lane) -> int:
        """The slots of the workers that serve it; 0: no worker does."""
        command = self._core.roster.commands.get(lane.command)
        pool = None if command is None else command.route.pool
        if pool is None:
            return 0
        target = lane.target
        if target is None:
            return pool.slots_count
        return sum(
            worker.slots_for(lane.command) for worker in pool.members if mismatch(worker, target) is None
        )

    # --- time -------------------------------------------------------------------------------------------------------

    @property
    def next_at(self) -> float:
        """When to call `due` next."""
        return self._clock[0][0] if self._clock else NEVER

    def stored(self, lane: Lane, run_at: float) -> None:
        """A job of it that is accepted is on disk only now."""
        lane.ready_at = min(lane.ready_at, run_at)
        if lane.is_reading:
            lane.stored_at = min(lane.stored_at, run_at)
        self.touched[lane] = None

    def wake(self, lane: Lane, at: float) -> None:
        """Look at it at this time, or before."""
        if at < lane.wake_at:
            lane.wake_at = at
            heappush(self._clock, (at, lane.number))
            if len(self._clock) > 2 * len(self.by_number) + CLOCK_SLACK:
                awake = self.by_number.values()
                self._clock = [(lane.wake_at, lane.number) for lane in awake if lane.wake_at < NEVER]
                heapify(self._clock)

    def clock_stepped(self, by_s: float, now: float, claims: tuple[float, float]) -> None:
        """The clock was set, or has stood still: pauses are as long as before, and every lane is looked at. Those that
        wait for claims until the first of these times now wait until the second one."""
        before, until = claims
        self._clock.clear()
        for lane in self.by_number.values():
            moved = min(lane.not_before + by_s, now + PAUSE_S_MAX)
            lane.not_before = until if lane.not_before == before else moved
            lane.wake_at = NEVER
            self.touched[lane] = None

    def due(self, now: float) -> None:
        """Touch those whose time has come."""
        clock = self._clock
        while clock and clock[0][0] <= now:
            at, number = heappop(clock)
            lane = self.by_number.get(number)
            if lane is not None and lane.wake_at == at:
                lane.wake_at = NEVER
                self.touched[lane] = None
