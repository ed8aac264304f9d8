"""Jobs with a `key`: at most `key_limit` of one key are with the core at once, over all lanes. An attempt that is over
keeps its place while its worker may still run it.

They are counted in memory. One that comes up while all places are taken is held, on disk. When a place becomes free,
the held one that goes first (highest priority, then lowest seq) is released, and the place is kept for it while it is
on its way to the core: no job that would go after it takes it. If it does not get there soon, because its lane has lost
its workers or has a long line of more urgent jobs, the place goes to the next.
"""

from collections import deque
from typing import Final

from .job import Job
from .lanes import NEVER, Lanes
from .lingering import Lingering, Stay
from .lives import Lives
from .memory import Memory
from .ports import FindHeldByKey, JournalError, Opened
from .reads import Reads
from .rows import StoredJob
from .states import Hold

KEPT_S: Final = 1.0
"""How long a place is kept for a job that was released. It needs two turns of the loop and two commits."""
FOUND_COUNT_MAX: Final = 100
"""Held jobs that are read at once."""


class Key:
    """One key. `inside`: its jobs that are with the core, or whose worker may come back with them. `lingering`: their
    attempts that may still run. `released`: ranks of the jobs for which a place is kept, by seq. `limit`: the highest
    that any of its jobs has. `has_held`: there may be held ones on disk. `is_asking`: the journal was asked for
    them."""

    __slots__ = ("has_held", "inside", "is_asking", "limit", "lingering", "name", "released")

    def __init__(self, name: str) -> None:
        self.name = name
        self.inside: dict[Job, None] = {}
        self.lingering: dict[Stay, None] = {}
        self.released: dict[int, tuple[int, int]] = {}
        self.limit = 1
        self.has_held = False
        self.is_asking = False

    @property
    def is_idle(self) -> bool:
        """Nothing need be remembered of it."""
        return not (self.taken_count or self.released or self.has_held or self.is_asking)

    @property
    def taken_count(self) -> int:
        """Places that are taken."""
        return len(self.inside) + len(self.lingering)


class Keys:
    """`by_name`: the keys of which a job is inside or held. `opens_at`: until then no key gives a place away, for after
    a kill of the broker a worker may still run an attempt of any: one that was not recorded, or was over before."""

    __slots__ = (
        "_clock",
        "_is_opening",
        "_lanes",
        "_lives",
        "_memory",
        "_reads",
        "by_name",
        "lingering",
        "opens_at",
    )

    def __init__(
        self, memory: Memory, lanes: Lanes, lives: Lives, reads: Reads, lingering: Lingering
    ) -> None:
        self._memory = memory
        self._lanes = lanes
        self._lives = lives
        self._reads = reads
        self.lingering = lingering
        self.by_name: dict[str, Key] = {}
        self._clock: deque[tuple[float, str]] = deque()  # in order, for all wait equally long
        self.opens_at = 0.0
        self._is_opening = False

    def opened(self, opened: Opened, opens_at: float, now: float) -> None:
        """Take what the journal has: what was with workers keeps its places, what was held is released when it may."""
        self.opens_at = opens_at
        self._is_opening = now < opens_at
        for stored in opened.assigned:
            if stored.new.key is not None:
                self._enter(self._memory.by_id[stored.new.job_id])
        for name in opened.held_keys:
            self._key(name).has_held = True
            self._clock.append((now, name))

    def clock_stepped(self, by_s: float, now: float, until: float) -> None:
        """The clock was set, or has stood still. Workers have until then to come back."""
        self.opens_at = until
        self._clock = deque((min(at + by_s, now + KEPT_S), name) for at, name in self._clock)
        self.lingering.begin_again(until)

    # --- in and out -------------------------------------------------------------------------------------------------

    def enter(self, job: Job) -> bool:
        """Whether `job` goes to the core now. If all places are taken, or some may turn out to be, it is held."""
        if not self._is_opening and self.take(job):
            return True
        self._key(_name(job)).has_held = True
        self._lives.hold(job, Hold.KEY)
        return False

    def take(self, job: Job) -> bool:
        """Take a place for `job`, if there is one."""
        key = self._key(_name(job))
        key.released.pop(job.new.seq, None)
        rank = _rank(job)
        ahead_count = sum(released < rank for released in key.released.values())
        if job not in key.inside and key.taken_count + ahead_count >= job.terms.key_limit:
            key.limit = max(key.limit, job.terms.key_limit)
            return False
        self._enter(job)
        return True

    def leave(self, job: Job, now: float) -> None:
        """`job` is no longer with the core, and no worker may come back with it."""
        key = self._key(_name(job))
        key.inside.pop(job, None)
        self._fill(key, now)

    def linger(self, job: Job, now: float) -> None:
        """The attempt of `job` is over, but its worker has not said so."""
        stay = self.lingering.add(job, now)
        if stay is not None:
            self._key(stay.key).lingering[stay] = None

    def answered(self, msg_id: str, now: float) -> bool:
        """A worker has answered an attempt that was over already, or forgets it. False if it kept no place."""
        stay = self.lingering.answered(msg_id)
        if stay is None:
            return False
        key = self.by_name[stay.key]
        del key.lingering[stay]
        self._fill(key, now)
        return True

    def worker_joined(self, worker_id: str, now: float) -> None:
        """It was told to forget what it still had of this."""
        for stay in self.lingering.of_worker(worker_id):
            self.answered(stay.msg_id, now)

    def ended(self, job: Job, now: float) -> None:
        """`job` has ended, wherever it was."""
        key = self.by_name.get(_name(job))
        if key is not None and key.released.pop(job.new.seq, None) is not None:
            self._fill(key, now)

    def holders(self, name: str) -> list[str]:
        """Job ids of those that take the places of a key."""
        key = self.by_name.get(name)
        return [] if key is None else [job.new.job_id for job in key.inside]

    def stopping(self, name: str) -> list[str]:
        """Job ids of the attempts that are over, and keep its places because their workers may still run them."""
        key = self.by_name.get(name)
        return [] if key is None else [stay.job_id for stay in key.lingering]

    # --- time -------------------------------------------------------------------------------------------------------

    @property
    def next_at(self) -> float:
        """When to call `advance` next."""
        return min(
            self._clock[0][0] if self._clock else NEVER,
            self.lingering.next_at,
            self.opens_at if self._is_opening else NEVER,
        )

    def advance(self, now: float) -> None:
        """Give away places that were kept long enough."""
        for stay in self.lingering.due(now):
            self.answered(stay.msg_id, now)
        if self._is_opening and now >= self.opens_at:
            self._is_opening = False
            for waiting in tuple(self.by_name.values()):
                self._fill(waiting, now)
        clock = self._clock
        while clock and clock[0][0] <= now:
            key = self.by_name.get(clock.popleft()[1])
            if key is not None:
                key.released.clear()
                self._fill(key, now)

    # --- what is held -----------------------------------------------------------------------------------------------

    def _fill(self, key: Key, now: float) -> None:
        """Ask for held jobs, if there is a place for one."""
        free_count = key.limit - key.taken_count - len(key.released)
        if key.has_held and free_count > 0 and not key.is_asking and not self._is_opening:
            key.is_asking = True
            key.has_held = False  # unless another one is held from here on
            query = FindHeldByKey(key.name, min(free_count, FOUND_COUNT_MAX))
            self._reads.ask(query, self._found, (key, query.count_max))
        elif key.is_idle:
            del self.by_name[key.name]

    def _found(self, context: tuple[Key, int], answer: "list[StoredJob] | JournalError", now: float) -> None:
        """Release those for which there is a place. One of a lane that no worker serves needs none: it waits there."""
        key, asked_count = context
        key.is_asking = False
        if isinstance(answer, JournalError):
            key.has_held = True
            self._clock.append((now + KEPT_S, key.name))
            return
        kept_count = len(key.released)
        for stored in answer:
            job = self._memory.take(stored)
            if job.held is not Hold.KEY:
                self._memory.release(job)
                continue
            if key.taken_count + len(key.released) >= job.terms.key_limit:
                self._memory.release(job)
                key.has_held = True
                break
            key.limit = max(key.limit, job.terms.key_limit)
            self._lives.release(job, Hold.KEY)
            if self._lanes.slots_count(job.lane):
                key.released[job.new.seq] = _rank(job)
        else:
            key.has_held = key.has_held or len(answer) == asked_count
            self._fill(key, now)
        if len(key.released) > kept_count:
            self._clock.append((now + KEPT_S, key.name))

    def _enter(self, job: Job) -> None:
        key = self._key(_name(job))
        key.inside[job] = None
        key.limit = max(key.limit, job.terms.key_limit)

    def _key(self, name: str) -> Key:
        key = self.by_name.get(name)
        if key is None:
            key = self.by_name[name] = Key(name)
        return key


def _name(job: Job) -> str:
    name = job.new.key
    assert name is not None
    return name


def _rank(job: Job) -> tuple[int, int]:
    """Lower goes first."""
    return -job.new.priority, job.new.seq
